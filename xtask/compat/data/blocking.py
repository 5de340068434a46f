"""Python's blocking sockets, woken while they wait: by a timer's signal, and by a thread that writes."""

import socket
import threading
import time

from compat import Signals, data, digest, fact


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    two, _ = listener.accept()
    listener.close()
    return one, two


def attempt(name, body):
    try:
        fact(name, body())
    except OSError as error:
        fact(name, f"{type(error).__name__} {error.errno}")


def with_signals():
    """Answers come after a while; a timer interrupts the wait for them."""
    one, two = pair()

    def answer():
        while request := two.recv(100):
            time.sleep(0.02)
            two.sendall(request)

    threading.Thread(target=answer, daemon=True).start()
    with Signals() as signals:
        for step in range(100):
            one.sendall(b"%d" % step)
            if one.recv(100) != b"%d" % step:
                return "wrong"
    return f"100 answers, interrupted: {signals.count > 100}"


def with_writer():
    """One thread writes until the buffers are full, another reads the same socket."""
    one, two = pair()
    whole = data(20_000_000)

    def echo():
        while block := two.recv(50_000):
            two.sendall(block)
        two.shutdown(socket.SHUT_WR)

    def write():
        one.sendall(whole)
        one.shutdown(socket.SHUT_WR)

    failures = []

    def guarded(work):
        try:
            work()
        except OSError as error:
            failures.append(f"{type(error).__name__} {error.errno}")
            one.close()
            two.close()

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in (echo, write)]
    for thread in threads:
        thread.start()
    blocks = []
    while block := one.recv(65536):
        blocks.append(block)
    for thread in threads:
        thread.join()
    return (digest(b"".join(blocks)) == digest(whole), failures)


attempt("blocking recv with signals", with_signals)
for turn in range(5):
    attempt(f"reader and writer of one socket, {turn}", with_writer)
