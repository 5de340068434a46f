"""curl both ways: downloads, uploads, ranges, resumed and limited transfers, FTP, by checksum."""

import os
import sys

from compat import HERE, fact, file_digest, serve_nginx, status, write, write_data

PORT = 8301
serve_nginx(
    f"""  server {{ listen 127.0.0.1:{PORT} http2; root {HERE}/files; location /up/ {{ dav_methods PUT; }} }}
  server {{ listen 127.0.0.1:{PORT + 1}; root {HERE}/files; location /up/ {{ dav_methods PUT; }} }}""",
    PORT,
)
write_data("files/large", 30 << 20)
write_data("files/middle", 300_000, 2)
write("files/small", "small\n")
for name, port, words in (("http/1.1", PORT + 1, []), ("http/2", PORT, ["--http2-prior-knowledge"])):
    url = f"http://127.0.0.1:{port}"

    def curl(what, *arguments, files=()):
        code, out = status(["curl", "-sS", *words, *arguments])
        fact(f"{name}: {what}", (code, len(out), *(file_digest(file) for file in files)))
        for file in files:
            if os.path.exists(file):
                os.unlink(file)

    # curl 7.88 cannot use a connection again that began as HTTP/2 by prior knowledge.
    if not words:
        small = f"{url}/small?[1-3000]"
        curl("small, large, small in one connection", "-o", "/dev/null", small, "-o", "down", f"{url}/large", "-o", "/dev/null", small, files=["down"])
        curl("upload between small ones", "-o", "/dev/null", small, "--next", "-sS", "-T", "files/large", f"{url}/up/one", "--next", "-sS", "-o", "/dev/null", small, files=["files/up/one"])
        curl("200 middle ones", "-o", "down", f"{url}/middle?[1-200]", files=["down"])
        curl("in parallel", "-Z", "-o", "down1", f"{url}/large", "-o", "down2", f"{url}/large", "-o", "down3", f"{url}/middle", files=["down1", "down2", "down3"])
    curl("range", "-r", "100-2000000", "-o", "down", f"{url}/large", files=["down"])
    write("down", "")
    status(["curl", "-sS", *words, "-r", "0-999999", "-o", "down", f"{url}/large"])
    curl("resumed", "-C", "-", "-o", "down", f"{url}/large", files=["down"])
    curl("large", "-o", "down", f"{url}/large", files=["down"])
    curl("upload", "-T", "files/large", f"{url}/up/one", files=["files/up/one"])
    curl("limited", "--limit-rate", "20M", "-o", "down", f"{url}/large", files=["down"])
    curl("refused", "-f", f"{url}/none")
    curl("time limit", "--max-time", "0.5", "--limit-rate", "1M", "-o", "/dev/null", f"{url}/large")
fact("nobody listens", status(["curl", "-sS", "http://127.0.0.1:1"], stderr=-3)[0])
