"""rsync: with its daemon and over ssh, both ways, whole files and changes, by checksum."""

import os
import random
import shutil
import sys

from compat import HERE, data, digest, fact, file_digest, run, serve, status, write, write_data
from loopback import start_sshd

PORT = 8873


def tree_digest(path):
    whole = []
    for folder, folders, files in sorted(os.walk(path)):
        folders.sort()
        for name in sorted(files):
            full = os.path.join(folder, name)
            whole.append(f"{os.path.relpath(full, path)} {os.stat(full).st_mode:o} {file_digest(full)}")
    return f"{len(whole)} files {digest(chr(10).join(whole).encode())}"


os.makedirs("source/deep/deeper")
chosen = random.Random(4)
for number in range(1500):
    folder = chosen.choice(["source", "source/deep", "source/deep/deeper"])
    with open(f"{folder}/f{number}", "wb") as out:
        out.write(data(chosen.randrange(20000), number))
for number in range(3):
    write_data(f"source/large{number}", 20 << 20, number + 1)

write("rsyncd.conf", f"use chroot = no\nuid = 0\ngid = 0\n[all]\npath = {HERE}/module\nread only = no\n")
os.mkdir("module")
serve(["rsync", "--daemon", "--no-detach", f"--port={PORT}", f"--config={HERE}/rsyncd.conf", "--address=127.0.0.1"], PORT)
ssh = start_sshd(8822)
ways = {
    "daemon": ([], f"rsync://127.0.0.1:{PORT}/all/"),
    "ssh": (["-e", " ".join(ssh)], f"root@127.0.0.1:{HERE}/module/"),
}
for name, (words, target) in ways.items():
    shutil.rmtree("module")
    os.mkdir("module")
    run(["rsync", "-a", *words, "source/", target])
    fact(f"{name}: up", tree_digest("module"))
    # Changes in the middle of files: the algorithm's conversation of checksums.
    for number in range(0, 1500, 7):
        for folder in ("source", "source/deep", "source/deep/deeper"):
            if os.path.exists(f"{folder}/f{number}"):
                with open(f"{folder}/f{number}", "ab") as out:
                    out.write(data(500, number))
    with open("source/large1", "r+b") as out:
        for place in range(0, 20 << 20, 1 << 20):
            out.seek(place)
            out.write(data(1000, place))
    run(["rsync", "-a", "--checksum", "--no-whole-file", *words, "source/", target])
    fact(f"{name}: changes up", tree_digest("module"))
    shutil.rmtree("back", ignore_errors=True)
    run(["rsync", "-az", *words, target, "back/"])
    fact(f"{name}: down, compressed", tree_digest("back"))
    run(["rsync", "-a", "--delete", "--checksum", "--no-whole-file", *words, target, "back/"])
    fact(f"{name}: nothing to do", tree_digest("back"))
    fact(f"{name}: list", digest(b"\n".join(sorted(line.split()[-1] for line in run(["rsync", "-r", *words, target]).splitlines()))))
    fact(f"{name}: limited", (run(["rsync", "-a", "--bwlimit=20m", *words, target + "large0", "limited"]), file_digest("limited")))
    fact(f"{name}: not there", status(["rsync", "-a", *words, target + "none", "none"], stderr=-3)[0])
