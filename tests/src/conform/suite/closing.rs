//! Ends of connections: orderly, half, with bytes under way, by reset.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "half-close",
        "a send 5000; a shut w; b poll; b drain; b recv 9; b send 1; a drain; b send 3000; a drain; b send 20000; a drain; a recv 9; b close; a poll; a recv 9",
    ),
    (
        "half-close, nothing sent",
        "a shut w; b poll; b recv 9; b send 10; a drain; b shut w; a poll; a recv 9",
    ),
    (
        "half-close by the server",
        "b send 500; b shut w; a poll; a drain; a send 10; b drain; a close; b poll; b recv 9",
    ),
    (
        "both shut down",
        "a send 700; b send 900; a shut w; b shut w; a poll; b poll; a drain; b drain; a recv 9; b recv 9",
    ),
    (
        "shutdown both ways",
        "a send 300; a shut rw; a recv 9; a send 9; b poll; b drain; b recv 9; b send 10; b poll; b send 10",
    ),
    (
        "shutdown twice",
        "a shut w; a shut w; a shut rw; b recv 1; b close; a shut w",
    ),
    (
        "close with bytes under way",
        "a send 1; a send 100; a send 30000; a close; b poll; b drain; b recv 9",
    ),
    (
        "close, peer sends on",
        "a close; b poll; b send 100; b poll; b send 100; b recv 9; b recv 9",
    ),
    (
        "close with unread bytes",
        "a send 1000; b inq; b close; a poll; a recv 9; a recv 9; a send 9; a send 9",
    ),
    (
        "close with half of it unread",
        "a send 500; a send 500; b recv 700; b close; a poll; a recv 9",
    ),
    (
        "close with unread bytes, peer has unread ones",
        "a send 100; b send 100; b close; a poll; a recv 50; a recv 100; a recv 1",
    ),
    (
        "close with unread bytes after a half-close",
        "a send 100; a shut w; b close; a poll; a recv 9",
    ),
    (
        "close by the client with unread bytes",
        "b send 100; a close; b poll; b recv 9; b send 9; b send 9",
    ),
    ("reset", "a reset; b poll; b recv 9; b recv 9; b send 9"),
    (
        "reset by the server",
        "b reset; a poll; a send 9; a recv 9; a recv 9",
    ),
    (
        "reset with bytes unread, then sends",
        "b send 1; b reset; a recv 1; a send 9; a send 9; a recv 9; a poll",
    ),
    (
        "end read twice, then sends",
        "b close; a recv 1; a recv 1; a send 1; a inq; a send 0; a send 1; a inq",
    ),
    (
        "reset with bytes under way",
        "a send 1000; a reset; b poll; b recv 600; b recv 600; b recv 600; b recv 600",
    ),
    (
        "reset, then peek",
        "a send 100; a reset; b recv 10 peek; b inq; b recv 10; b recv 10",
    ),
    (
        "reset of a half-closed connection",
        "a shut w; b send 10; a reset; b poll; b recv 9; b send 9",
    ),
    (
        "send after shutdown",
        "a send 10; a shut w; a send 10; b drain; b recv 9; b send 10; b shut w; b send 10; a drain",
    ),
    (
        "sendmsg, writev after shutdown",
        "a shut w; a send 10 by=msg; a send 10 by=vec; b recv 1",
    ),
    (
        "own end stops receiving",
        "b shut r; b recv 9; a send 100; b inq; b poll; b recv 1000; b recv 1000",
    ),
    (
        "stops receiving with bytes there",
        "a send 100; b shut r; b recv 50; b recv 100; b recv 1; b poll",
    ),
    (
        "close in FIN_WAIT2",
        "a shut w; b recv 1; b send 10; a recv 10; a close; b poll; b send 10; b poll; b send 10",
    ),
    (
        "close of a full connection",
        "a fill; a close; b drain; b recv 9",
    ),
    (
        "close of a full connection's reader",
        "a fill; b close; a poll; a send 9; a send 9",
    ),
];
