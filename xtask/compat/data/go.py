"""Go: net/http with keep-alive, streams both ways, deadlines, half-close; built from one source file."""

import os
import subprocess

from compat import CACHE, fact, run

environment = dict(os.environ, GOCACHE=os.path.join(CACHE, "go"), GOFLAGS="-mod=mod", GO111MODULE="off", CGO_ENABLED="0")
run(["go", "build", "-o", "main", "main.go"], env=environment)
# As they come: a connection that hangs must not hide what came before.
program = subprocess.Popen(["./main"], stdout=subprocess.PIPE)
for line in program.stdout:
    name, _, value = line.decode().partition("\t")
    fact(name, value)
fact("exit", program.wait())
