//! The ways to receive.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "each way to receive",
        "a send 1000; b recv 100 by=file; b recv 100 by=msg; b recv 100 by=vec; b recv 100 by=mmsg; b recv 100 by=uring; b recv 100; b inq; b drain",
    ),
    (
        "nothing there",
        "b poll; b recv 9; b recv 9 by=file; b recv 9 by=msg; b recv 9 by=vec; b recv 9 by=mmsg; b recv 9 peek; b recv 9 dontwait; b inq; b mark; a send 3; b recv 9",
    ),
    (
        "nothing there, io_uring",
        "b recv 9 by=uring dontwait; a send 3; b recv 9 by=uring; b recv 9 by=uring dontwait",
    ),
    (
        "empty receive of something",
        "a send 10; b recv 0; b inq; b recv 0 peek; b recv 10",
    ),
    (
        "empty receive of nothing",
        "b recv 0; a send 10; b drain; b recv 0",
    ),
    (
        "messages join",
        "a send 10; a send 20; a send 30; b recv 15; b recv 15; b recv 100",
    ),
    (
        "many small messages, one receive",
        "a send 1; a send 2; a send 3; a send 4; a send 5; a send 6; a send 7; a send 8; b recv 100 by=vec; b recv 1",
    ),
    (
        "peek",
        "a send 60; a send 40; b recv 10 peek; b recv 1000 peek; b recv 30; b recv 1000 peek; b inq; b recv 1000; b recv 10 peek",
    ),
    (
        "peek by recvmsg and recvmmsg",
        "a send 60; a send 40; b recv 80 by=msg peek; b recv 80 by=mmsg peek; b recv 200 by=mmsg; b recv 80 by=mmsg",
    ),
    (
        "MSG_TRUNC with a buffer",
        "a send 100; b recv 50 trunc; b inq; b recv 100",
    ),
    (
        "MSG_TRUNC without a buffer",
        "a send 100; b recv 50 null; b inq; b recv 100",
    ),
    (
        "MSG_TRUNC and MSG_PEEK",
        "a send 100; b recv 50 trunc peek; b recv 100",
    ),
    (
        "MSG_TRUNC seen before",
        "a send 100; b recv 50 trunc; b recv 100; reach; a send 100; b recv 50 null; b inq; b recv 100",
    ),
    (
        "MSG_WAITALL of what is there",
        "a send 100; a send 200; b recv 300 waitall; a send 100; b recv 300 waitall; b recv 1 waitall",
    ),
    (
        "MSG_WAITALL seen before",
        "a send 100; b recv 100 waitall; reach; a send 100; a send 200; b recv 300 waitall; a send 100; b recv 300 waitall",
    ),
    (
        "splice out of",
        "a send 1; b recv 1 by=splice; a send 100; b recv 100 by=splice; a send 5000; b recv 5000 by=splice; b recv 10 by=splice",
    ),
    (
        "splice seen before",
        "a send 100; b recv 100 by=splice; reach; a send 1; b recv 1 by=splice; a send 5000; b recv 5000 by=splice; b recv 10 by=splice",
    ),
    (
        "splice meets the end",
        "a shut w; b recv 10 by=splice; b recv 10",
    ),
    (
        "error queue",
        "b recv 10 by=msg errqueue; a send 10; b recv 10 by=msg errqueue; b recv 10",
    ),
    (
        "FIONREAD",
        "b inq; a send 100; b inq; a send 5000; b inq; b recv 99; b inq; b recv 5001; b inq",
    ),
    (
        "FIONREAD at the end",
        "a send 100; a shut w; b inq; b recv 100; b inq; b recv 1; b inq",
    ),
    (
        "SIOCATMARK without urgent data",
        "b mark; a send 10; b mark; b recv 10; b mark",
    ),
    (
        "receive with a bad flag mix",
        "a send 10; b recv 5 peek waitall; b recv 5 peek dontwait; b recv 10 dontwait waitall",
    ),
];
