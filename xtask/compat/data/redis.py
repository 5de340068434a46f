"""The test suite of redis (its own, in Tcl) against Debian's binaries; each test's outcome is a fact."""

import os
import re
import shutil
import subprocess
import sys

from compat import CACHE, HERE, fact, note

UNITS = sys.argv[1:]
# `prepare` has unpacked the source of the installed version.
tree = os.path.join(HERE, "redis")
shutil.copytree(os.path.join(CACHE, "redis"), tree, symlinks=True)
source = os.path.join(tree, "src")
for name in ("redis-server", "redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb", "redis-sentinel"):
    path = os.path.join(source, name)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(f"/usr/bin/{name}", path)

command = ["tclsh", "tests/test_helper.tcl", "--clients", "4", "--timeout", "120", "--dont-clean", "--no-latency"]
# Tests of the debug build's commands, of modules that would have to be built, and of the machine.
command += ["--tags", "-needs:repl_debug -large-memory -slow", "--portcount", "2000"]
for unit in UNITS:
    command += ["--single", unit]
done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
seen = {}
for line in text.splitlines():
    match = re.match(r"\[(ok|err|exception|ignore|skip|timeout)\]: (.*)", line)
    if match:
        word, name = match.groups()
        # Times, process ids, and sizes that differ from run to run.
        name = re.sub(r" \(\d+ ms\)$| in tests/.*$", "", name)
        name = re.sub(r"\d+", "#", name)
        seen.setdefault(name, []).append(word)
    if re.match(r"\[(err|exception|timeout)", line):
        note(line)
for name, words in seen.items():
    fact(name, " ".join(sorted(words)))
fact("suite", done.returncode)
note(text[-3000:])
