"""HAProxy with splicing on, in TCP and in HTTP mode, before an nginx: small and large both ways."""

import http.client
import os
import socket
import sys
import threading

from compat import HERE, data, digest, fact, file_digest, serve, serve_nginx, status, together, write, write_data
from websocket import WebSocket, WebSocketServer

SIZE = int(sys.argv[1]) << 20
ROUNDS = int(sys.argv[2])
MODES = sys.argv[3:]
TCP, HTTP, BACK, ECHO, ECHO_BACK = 8201, 8202, 8203, 8204, 8205

serve_nginx(
    f"""  sendfile on;
  server {{ listen 127.0.0.1:{BACK}; root {HERE}/files; location /up/ {{ dav_methods PUT; }} }}""",
    BACK,
)
write_data("files/large", SIZE)
write("files/small", "small\n")
write(
    "haproxy.cfg",
    f"""global
  maxconn 500
defaults
  timeout connect 10s
  timeout client 20s
  timeout server 20s
  option splice-auto
  option splice-request
  option splice-response
frontend tcp
  mode tcp
  bind 127.0.0.1:{TCP}
  default_backend tcp
backend tcp
  mode tcp
  server s 127.0.0.1:{BACK}
frontend http
  mode http
  bind 127.0.0.1:{HTTP}
  default_backend http
backend http
  mode http
  http-reuse always
  server s 127.0.0.1:{BACK}
frontend echo
  mode http
  bind 127.0.0.1:{ECHO}
  default_backend echo
backend echo
  mode http
  server s 127.0.0.1:{ECHO_BACK}
""",
)
serve(["haproxy", "-db", "-f", "haproxy.cfg"], HTTP)
WebSocketServer(ECHO_BACK)


def ask(client, method, path, body=None, **headers):
    client.request(method, path, body, headers)
    answer = client.getresponse()
    text = answer.read()
    return answer.status, len(text), digest(text)


for name in MODES:
    port = {"tcp": TCP, "http": HTTP}[name]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for turn in range(ROUNDS):
        fact(f"{name} {turn}: small requests", {ask(client, "GET", "/small") for _ in range(2000)})
        fact(f"{name} {turn}: large request", ask(client, "GET", "/large"))
        fact(f"{name} {turn}: small after large", {ask(client, "GET", "/small") for _ in range(1000)})
        fact(f"{name} {turn}: PUT", ask(client, "PUT", "/up/one", data(SIZE // 2, 5 + turn))[0] in (201, 204))
        fact(f"{name} {turn}: PUT's bytes", file_digest("files/up/one"))
    fact(f"{name}: range", ask(client, "GET", "/large", Range="bytes=1000-400000"))
    client.close()

    def load(number):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        seen = {ask(client, "GET", "/small" if step % 50 else "/large") for step in range(200)}
        fact(f"{name}: client {number}", sorted(seen))

    together(4, load)
    code, _ = status(["curl", "-sS", "-o", "down", f"http://127.0.0.1:{port}/large", "--limit-rate", "40M"])
    fact(f"{name}: curl", (code, file_digest("down")))

    link = socket.create_connection(("127.0.0.1", port))
    link.settimeout(60)
    link.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    whole = link.recv(100)
    threading.Event().wait(0.3)
    blocks = [whole]
    while block := link.recv(65536):
        blocks.append(block)
    fact(f"{name}: slow reader", digest(b"".join(blocks).split(b"\r\n\r\n", 1)[1]))


def websocket(number):
    peer = WebSocket(ECHO, "/socket")
    wrong = 0
    for step in range(1000):
        size = 60_000 if step % 100 == 99 else step % 300
        wrong += peer.echo(data(size, step)) != data(size, step)
    fact(f"websocket {number}: wrong echoes", wrong)
    fact(f"websocket {number}: close", peer.close())


together(2, websocket)
