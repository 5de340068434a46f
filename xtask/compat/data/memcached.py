"""memcached: text protocol by plain sockets, blocking and not, values of all sizes; libmemcached's tools."""

import random
import selectors
import socket

from compat import data, digest, fact, run, serve, status, together

PORT = 11299
serve(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", PORT, "-t", "2", "-I", "2m", "-m", "256"], PORT)


class Client:
    """Blocking, or with a time limit, which makes Python's socket non-blocking."""

    def __init__(self, limit):
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.settimeout(limit)
        self.file = self.socket.makefile("rb")

    def set(self, key, value):
        self.socket.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        return self.file.readline()

    def get(self, key):
        self.socket.sendall(b"get %s\r\n" % key)
        head = self.file.readline()
        if head == b"END\r\n":
            return None
        value = self.file.read(int(head.split()[3]))
        assert self.file.readline() == b"\r\n" and self.file.readline() == b"END\r\n"
        return value


def work(number):
    client = Client(None if number % 2 else 60)
    chosen = random.Random(number)
    stored = {}
    wrong = 0
    for step in range(4000):
        key = b"k%d_%d" % (number, chosen.randrange(50))
        if chosen.random() < 0.3:
            size = chosen.choice([1, 10, 100, 1000, 10000, 100000 if step % 50 == 0 else 50])
            stored[key] = data(size, step)
            assert client.set(key, stored[key]) == b"STORED\r\n"
        else:
            wrong += client.get(key) != stored.get(key)
    fact(f"wrong values of client {number}", wrong)
    big = data(1_500_000, number)
    fact(f"large value of client {number}", client.set(b"big%d" % number, big).decode())
    fact(f"large value read by client {number}", client.get(b"big%d" % number) == big)


together(8, work)

# Many commands without waiting, answers read in one go.
pipe = Client(60)
pipe.socket.sendall(b"".join(b"set p%d 0 0 5\r\n%05d\r\n" % (i, i) for i in range(5000)))
fact("pipelined", {pipe.file.readline() for _ in range(5000)})
pipe.socket.sendall(b"get " + b" ".join(b"p%d" % i for i in range(50)) + b"\r\nquit\r\n")
fact("multiget", digest(pipe.file.read()))

run(["memccp", f"--servers=127.0.0.1:{PORT}", "main.py"])
fact("memccat", digest(run(["memccat", f"--servers=127.0.0.1:{PORT}", "main.py"])))
fact("memcexist of what is there", status(["memcexist", f"--servers=127.0.0.1:{PORT}", "main.py"])[0])
fact("memcexist of what is not", status(["memcexist", f"--servers=127.0.0.1:{PORT}", "none"])[0])
run(["memcslap", f"--servers=127.0.0.1:{PORT}", "--concurrency=8", "--execute-number=2000", "--test=get"])
fact("memcslap", "done")
