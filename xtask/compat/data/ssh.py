"""ssh, scp and sftp over loopback: commands, bulk both ways, many small exchanges, forwarding."""

import subprocess
import threading

from compat import HERE, data, digest, fact, file_digest, run, serve, status, together, until, write, write_data
from loopback import start_sshd
from websocket import WebSocket, WebSocketServer
from compat import listens

PORT, FORWARD, ECHO = 8922, 8923, 8924
ssh = start_sshd(PORT)
target = "root@127.0.0.1"

fact("command", run([*ssh, target, "echo", "hello"]).decode())
fact("status", status([*ssh, target, "exit 7"])[0])
fact("no such command", status([*ssh, target, "/nonexistent"], stderr=-3)[0])
fact("standard error", run([*ssh, target, "echo err >&2; echo out"], stderr=subprocess.STDOUT).decode().split() is not None)

write_data("large", 60 << 20)
write("down", "")
with open("large", "rb") as large:
    fact("bulk in", run([*ssh, target, "sha256sum"], stdin=large).decode())
fact("bulk out", digest(run([*ssh, target, f"cat {HERE}/large"])))
with open("large", "rb") as large:
    fact("bulk both ways", digest(run([*ssh, target, "cat"], stdin=large)))

# A conversation: one line there, one line back, 5000 times in one connection.
peer = subprocess.Popen([*ssh, target, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
wrong = 0
for step in range(5000):
    line = b"%d %s\n" % (step, b"x" * (step % 200))
    peer.stdin.write(line)
    peer.stdin.flush()
    wrong += peer.stdout.readline() != line
peer.stdin.close()
fact("conversation", (wrong, peer.stdout.read(), peer.wait()))

scp = ["scp", *ssh[1:]]
run([*scp, "large", f"{target}:{HERE}/copy1"])
fact("scp up", file_digest("copy1"))
run([*scp, f"{target}:{HERE}/large", "copy2"])
fact("scp down", file_digest("copy2"))
run([*scp, "-O", "-C", f"{target}:{HERE}/large", "copy3"])
fact("scp down, old protocol, compressed", file_digest("copy3"))
write("batch", f"put large {HERE}/copy4\nget {HERE}/copy4 copy5\nls -1 {HERE}/ssh\n")
fact("sftp", digest(run(["sftp", *ssh[1:], "-b", "batch", target])) != "")
fact("sftp's files", (file_digest("copy4"), file_digest("copy5")))

# A terminal: signals and window changes take another way through the protocol.
fact("terminal", run([*ssh, "-tt", target, "stty size; echo done"], stderr=-3).decode().split()[-1])

WebSocketServer(ECHO)
forward = subprocess.Popen([*ssh, "-N", "-L", f"127.0.0.1:{FORWARD}:127.0.0.1:{ECHO}", target])
until("the forwarding listens", lambda: listens(FORWARD))


def websocket(number):
    link = WebSocket(FORWARD, "/")
    wrong = 0
    for step in range(1000):
        size = 60_000 if step % 100 == 99 else step % 300
        wrong += link.echo(data(size, step)) != data(size, step)
    fact(f"forwarded {number}: wrong echoes", wrong)
    fact(f"forwarded {number}: close", link.close())


together(4, websocket)
forward.terminate()
fact("forwarding ends", forward.wait())
together(8, lambda number: fact(f"at once {number}", run([*ssh, target, f"echo {number}"]).decode()))
