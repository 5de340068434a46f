"""A Python socket with a time limit, which makes it non-blocking, that loses the limit in mid-life: as
programs do that log in with one and then wait for as long as it takes."""

import socket
import threading
import time

from compat import Signals, fact

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), timeout=10)
server, _ = listener.accept()
server.settimeout(60)


def answer():
    while request := server.recv(100):
        if request.startswith(b"slow"):
            time.sleep(0.02)
        server.sendall(request)


def ask(words):
    client.sendall(words)
    return client.recv(100) == words


threading.Thread(target=answer, daemon=True).start()
end = time.monotonic() + 2
wrong = 0
while time.monotonic() < end:
    wrong += not ask(b"x" * 50)
fact("with a time limit, wrong", wrong)

client.settimeout(None)
fact("without, wrong", sum(not ask(b"x" * 50) for _ in range(1000)))
try:
    with Signals():
        fact("without, and with signals, wrong", sum(not ask(b"slow %d" % step) for step in range(100)))
except OSError as error:
    fact("without, and with signals, wrong", f"{type(error).__name__} {error.errno}")
