"""Websockets, as little of RFC 6455 as it takes: binary messages in one frame, masked by the client."""

import base64
import hashlib
import os
import selectors
import socket
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Stream:
    """A non-blocking socket, read and written with poll: a socket that can be adopted."""

    def __init__(self, link):
        self.link = link
        self.link.settimeout(60)
        self.held = b""

    def until(self, mark):
        while mark not in self.held:
            self.more()
        head, self.held = self.held.split(mark, 1)
        return head

    def exactly(self, size):
        while len(self.held) < size:
            self.more()
        part, self.held = self.held[:size], self.held[size:]
        return part

    def more(self):
        block = self.link.recv(65536)
        if not block:
            raise EOFError
        self.held += block

    def frame(self):
        first, second = self.exactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self.exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.exactly(8))
        mask = self.exactly(4) if second & 128 else None
        body = self.exactly(size)
        return first & 15, unmask(body, mask) if mask else body

    def send(self, opcode, body, mask=None):
        bit = 128 if mask else 0
        if len(body) < 126:
            head = struct.pack("!BB", 128 | opcode, bit | len(body))
        elif len(body) < 65536:
            head = struct.pack("!BBH", 128 | opcode, bit | 126, len(body))
        else:
            head = struct.pack("!BBQ", 128 | opcode, bit | 127, len(body))
        self.link.sendall(head + (mask + unmask(body, mask) if mask else body))


def unmask(body, mask):
    pattern = (mask * (len(body) // 4 + 1))[: len(body)]
    return (int.from_bytes(body, "big") ^ int.from_bytes(pattern, "big")).to_bytes(len(body), "big")


class WebSocketServer:
    """Echoes each message; a thread a connection."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            link, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        stream = Stream(link)
        head = stream.until(b"\r\n\r\n")
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        link.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while True:
            opcode, body = stream.frame()
            stream.send(opcode, body)
            if opcode == 8:
                break
        link.close()


class WebSocket:
    def __init__(self, port, path):
        link = socket.create_connection(("127.0.0.1", port))
        self.stream = Stream(link)
        key = base64.b64encode(os.urandom(16))
        link.sendall(
            b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        head = self.stream.until(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        assert b"101" in head and accept in head, head

    def echo(self, body):
        self.stream.send(2, body, os.urandom(4))
        return self.stream.frame()[1]

    def close(self):
        self.stream.send(8, b"\x03\xe8", os.urandom(4))
        opcode, _ = self.stream.frame()
        try:
            self.stream.more()
            return f"opcode {opcode}, more bytes"
        except EOFError:
            return f"opcode {opcode}, end of file"
