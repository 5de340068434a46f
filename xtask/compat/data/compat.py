"""What the programs of `cargo xtask compat` share: facts, servers, files.

A run has a network namespace and a process namespace of its own, so ports are fixed, and whatever
is still running when this process ends is ended by the kernel."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

HERE = os.getcwd()
CACHE = os.environ["COMPAT_CACHE"]
LIMIT = int(os.environ["COMPAT_LIMIT"])

_facts = open(os.path.join(HERE, "facts"), "a", buffering=1)
_main = os.getpid()


def _limit(*_):
    # Only the first process; its end is the end of all others.
    if os.getpid() == _main:
        sys.stderr.write("compat: time limit\n")
        sys.stderr.flush()
        os._exit(124)


signal.signal(signal.SIGALRM, _limit)
signal.alarm(LIMIT)


def _lifeline(pipe):
    # Ends with the process that started the run, however that one ends.
    while os.read(pipe, 1):
        pass
    os._exit(125)


_pipe = os.dup(0)
with open(os.devnull) as _nothing:
    os.dup2(_nothing.fileno(), 0)
threading.Thread(target=_lifeline, args=(_pipe,), daemon=True).start()


def fact(name, value):
    """Writes down something that must be equal with and without acceleration."""
    value = " ".join(str(value).split())
    _facts.write(f"{name}\t{value}\n")


def note(text):
    """For whoever reads the output of a failed run."""
    print(text, file=sys.stderr, flush=True)


def until(what, condition, limit=30):
    """Waits for a condition that cannot be waited for by itself."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {limit} s")
        time.sleep(0.02)


def listens(port):
    """Asks the kernel, not the server: a connection would be traffic."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and fields[1].endswith(wanted):
                    return True
    return False


def serve(argv, port, **options):
    """Starts a server and returns once it listens."""
    server = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, **options)

    def ready():
        if server.poll() is not None:
            raise SystemExit(f"{argv[0]} ended with {server.returncode} before it listened")
        return listens(port)

    until(f"{argv[0]} listens on {port}", ready)
    return server


def serve_nginx(http, port, workers=1):
    """Starts an nginx with these lines in its `http` block; it may write below `files/up`."""
    os.makedirs("files/up", exist_ok=True)
    os.chmod(HERE, 0o755)
    temporary = "".join(f"{kind}_temp_path {HERE}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    write(
        "nginx.conf",
        f"""worker_processes {workers}; pid {HERE}/nginx.pid; error_log {HERE}/error.log; daemon off; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 200m; {temporary}
{http}
}}
""",
    )
    return serve(["nginx", "-c", f"{HERE}/nginx.conf"], port)


def run(argv, **options):
    """Runs a client, which has to succeed, and returns its output."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, **options)
    if done.returncode != 0:
        note(done.stdout[-4000:])
        raise SystemExit(f"{argv} ended with {done.returncode}")
    return done.stdout


def status(argv, **options):
    """Runs a client and returns how it ended, with what it printed."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, **options)
    return done.returncode, done.stdout


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def file_digest(path):
    if not os.path.exists(path):
        return "no file"
    whole = hashlib.sha256()
    with open(path, "rb") as data:
        while block := data.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()[:16]


def data(size, seed=1):
    """The same bytes in every run, different from place to place."""
    return random.Random(seed).randbytes(size)


def write_data(path, size, seed=1):
    with open(path, "wb") as file:
        part = 0
        while size > 0:
            block = data(min(size, 1 << 22), seed * 1000 + part)
            file.write(block)
            size -= len(block)
            part += 1
    return path


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return os.path.abspath(path)


class Signals:
    """While it lasts, the main thread gets a signal each 5 ms, whose handler counts it."""

    def __enter__(self):
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(threading.main_thread().ident,))
        signal.signal(signal.SIGUSR1, self._got)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _got(self, *_):
        self.count += 1

    def _send(self, main):
        while not self._stop.wait(0.005):
            signal.pthread_kill(main, signal.SIGUSR1)


def together(count, work):
    """Runs `work(number)` in threads; the first exception is raised here."""
    failures = []

    def one(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
