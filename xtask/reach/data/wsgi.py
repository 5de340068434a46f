"""A small WSGI application."""

BODY = b"A short answer.\n"


def answer(environment, start):
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]
