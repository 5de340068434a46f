"""Runs tests of CPython's own suite and writes the outcome of each one as a fact.

The tests run one after the other in a worker. A worker that says nothing for too long, or dies, has
a test that hangs or kills it: that is written down, and another worker goes on behind that test."""

import os
import select
import signal
import sys
import unittest

from compat import fact, note

QUIET = 40
# Not TCP, and hanging wherever the kernel has no working vsock.
EXCLUDED = ("VSOCK", "CANTest", "CANJ1939", "RDS", "BluetoothTest", "QIPCRTR")


class Outcome(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.said = None

    def say(self, *words):
        os.write(self.out, (" ".join(words) + "\n").encode())

    def startTest(self, test):
        super().startTest(test)
        self.said = "ok"
        self.say("start", test.id())

    def stopTest(self, test):
        super().stopTest(test)
        self.say("done", self.said)

    def addError(self, test, error):
        self.bad(test, "error " + error[0].__name__, error)

    def addFailure(self, test, error):
        self.bad(test, "failed", error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.bad(test, "failed in a subtest", error)

    def bad(self, test, word, error):
        self.said = word
        note(f"{test.id()}: {word}\n{self._exc_info_to_string(error, test)}")

    def addSkip(self, test, reason):
        self.said = "skipped"

    def addExpectedFailure(self, test, error):
        self.said = "expected failure"

    def addUnexpectedSuccess(self, test):
        self.said = "unexpected success"

    def shouldStop_(self):
        return False


def load(names):
    loader = unittest.TestLoader()
    found = []

    def collect(suite):
        for one in suite:
            if isinstance(one, unittest.TestSuite):
                collect(one)
            elif not any(word in one.id() for word in EXCLUDED):
                found.append(one)

    collect(loader.loadTestsFromNames(names))
    return found


def work(names, done, out):
    from test import support

    support.verbose = 0
    suite = unittest.TestSuite(load(names)[done:])
    result = Outcome(out)
    suite.run(result)
    os.write(out, b"end\n")


def worker(names, done):
    """Runs the tests from number `done` on; returns how many are done then, or None at the end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(reading)
        code = 1
        try:
            work(names, done, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    running, text = None, b""
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], QUIET)
            if not ready:
                fact(running or "between tests", "hangs")
                return done + 1
            block = os.read(reading, 65536)
            if not block:
                fact(running or "between tests", "kills the worker")
                return done + 1
            text += block
            *lines, text = text.split(b"\n")
            for line in lines:
                word, _, rest = line.decode().partition(" ")
                if word == "start":
                    running = rest
                elif word == "done":
                    # A class or module that cannot be set up has no test that starts.
                    fact(running, rest)
                    running = None
                    done += 1
                elif word == "end":
                    return None
    finally:
        os.close(reading)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)


names = sys.argv[1:]
done = 0
while done is not None:
    done = worker(names, done)
