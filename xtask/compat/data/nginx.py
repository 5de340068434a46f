"""nginx as server and as proxy before itself: small and large bodies, ranges, keep-alive, upgrades."""

import http.client
import os
import socket
import sys
import threading

from compat import HERE, data, digest, fact, file_digest, run, serve_nginx, together, write, write_data
from websocket import WebSocket, WebSocketServer

FRONT, BACK, ECHO = 8101, 8102, 8103
REQUESTS = 3000

serve_nginx(
    f"""  sendfile on;
  upstream back {{ server 127.0.0.1:{BACK}; keepalive 8; }}
  upstream echo {{ server 127.0.0.1:{ECHO}; }}
  server {{
    listen 127.0.0.1:{BACK}; root {HERE}/files;
    location /up/ {{ dav_methods PUT DELETE; }}
  }}
  server {{
    listen 127.0.0.1:{FRONT};
    location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /unbuffered/ {{
      proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off;
    }}
    location /socket {{
      proxy_pass http://echo; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
    }}
  }}""",
    FRONT,
    workers=2,
)
write_data("files/large", 20 << 20)
write_data("files/middle", 200_000, 2)
write("files/small", "small\n")
WebSocketServer(ECHO)


def ask(client, method, path, body=None, **headers):
    client.request(method, path, body, headers)
    answer = client.getresponse()
    text = answer.read()
    return answer.status, len(text), digest(text)


for name, port in (("server", BACK), ("proxy", FRONT)):
    # One connection: small requests until it is adopted, large ones over it, small ones again. The time
    # limit makes Python's socket non-blocking.
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    prefixes = ("",) if port == BACK else ("", "/unbuffered")
    for prefix in prefixes:
        where = name + prefix
        seen = {ask(client, "GET", f"{prefix}/small") for _ in range(REQUESTS)}
        fact(f"{where}: small requests", seen)
        fact(f"{where}: middle requests", {ask(client, "GET", f"{prefix}/middle") for _ in range(50)})
        fact(f"{where}: large request", ask(client, "GET", f"{prefix}/large"))
        fact(f"{where}: small after large", {ask(client, "GET", f"{prefix}/small") for _ in range(REQUESTS)})
        for span in ("0-0", "5-99999", "1000000-", "-70000", "3-1", "99999999-"):
            fact(f"{where}: range {span}", ask(client, "GET", f"{prefix}/large", Range=f"bytes={span}"))
        fact(f"{where}: two ranges", ask(client, "GET", f"{prefix}/large", Range="bytes=0-9,50-59")[:2])
        fact(f"{where}: HEAD", ask(client, "HEAD", f"{prefix}/large"))
        fact(f"{where}: not there", ask(client, "GET", f"{prefix}/none")[0])
        body = data(30 << 20, 5)
        fact(f"{where}: PUT", ask(client, "PUT", f"{prefix}/up/one", body)[0])
        fact(f"{where}: PUT's bytes", file_digest("files/up/one"))
        for step in range(200):
            ask(client, "PUT", f"{prefix}/up/two", data(step * 97, step))
        fact(f"{where}: 200 small PUTs", file_digest("files/up/two"))
        client.request("PUT", f"{prefix}/up/three", iter([data(5000, i) for i in range(500)]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
        fact(f"{where}: chunked PUT", client.getresponse().read() is not None)
        fact(f"{where}: chunked PUT's bytes", file_digest("files/up/three"))
        for step in ("one", "two", "three"):
            fact(f"{where}: DELETE {step}", ask(client, "DELETE", f"{prefix}/up/{step}")[0])
    client.close()

# POST that is refused while its body is on its way: the server may close with unread bytes.
client = http.client.HTTPConnection("127.0.0.1", FRONT, timeout=60)
fact("POST without a taker", ask(client, "POST", "/small", data(100_000, 3))[0])
client.close()

# Pipelined requests.
link = socket.create_connection(("127.0.0.1", BACK))
link.settimeout(60)
link.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n" * 500 + b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
whole = b""
while block := link.recv(65536):
    whole += block
fact("pipelined", (whole.count(b"HTTP/1.1 200"), whole.count(b"small\n")))

# A reader that stops in the middle and goes on.
link = socket.create_connection(("127.0.0.1", FRONT))
link.settimeout(60)
link.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
whole = link.recv(100)
threading.Event().wait(0.5)
while block := link.recv(1000 if len(whole) < 300_000 else 65536):
    whole += block
fact("slow reader", digest(whole.split(b"\r\n\r\n", 1)[1]))


def websocket(number):
    peer = WebSocket(FRONT, "/socket")
    wrong = 0
    for step in range(1500):
        size = 60_000 if step % 100 == 99 else step % 300
        wrong += peer.echo(data(size, step)) != data(size, step)
    fact(f"websocket {number}: wrong echoes", wrong)
    fact(f"websocket {number}: close", peer.close())


together(4, websocket)



out = run(["wrk", "-t", "2", "-c", "32", "-d", "3s", f"http://127.0.0.1:{FRONT}/small"]).decode()
fact("wrk", ("Requests/sec" in out, "Non-2xx" in out, "Socket errors" in out))
