//! The ways to send.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "single bytes",
        "a send 1; a send 1; a send 1; b inq; b recv 2; b recv 9; b recv 9; b send 1; a recv 1; a recv 1",
    ),
    (
        "empty send",
        "a send 0; b poll; b recv 9; a send 10; a send 0; b drain; b recv 9",
    ),
    ("empty send after shutdown", "a shut w; a send 0; b recv 1"),
    (
        "empty send after the end",
        "b close; a send 1; a send 0; a send 1",
    ),
    (
        "each way to send",
        "a send 700 by=file; a send 800 by=msg; a send 900 by=vec; a send 1000 by=mmsg; a send 1100 by=uring; b inq; b drain",
    ),
    (
        "io_uring, no copy",
        "a send 10 by=uring_zc; b drain; a send 3000 by=uring_zc; b inq; b drain; a send 20000 by=uring_zc; b drain",
    ),
    (
        "thousand pieces",
        "a send 30000 by=msg; b drain; a send 30000 by=vec; b drain",
    ),
    (
        "sendfile",
        "a send 1 by=sendfile; b recv 10; a send 5000 by=sendfile; b inq; b drain; a send 30000 by=sendfile; b drain",
    ),
    (
        "splice into",
        "a send 1 by=splice; b recv 10; a send 3000 by=splice; b inq; b drain; a send 20000 by=splice; b drain",
    ),
    (
        "MSG_MORE, then pushed",
        "a send 10 more; a send 10 more; a send 10; b drain; b recv 10",
    ),
    (
        "MSG_MORE is held",
        "a send 10 more; b poll; b recv 100; a send 10; b drain",
    ),
    (
        "large messages",
        "a send 65536; b drain; a send 65536; b drain; b send 65537; a drain; b send 10; a drain",
    ),
    (
        "out of band",
        "a send 10; a send 1 oob; a send 10; b poll; b mark; b recv 100; b mark; b recv 1 oob dontwait; b recv 100; b recv 100",
    ),
    (
        "out of band first",
        "a send 1 oob; b poll; b select; b recv 1 oob; b recv 10; b mark; a send 5; b recv 10",
    ),
    (
        "out of band before",
        "a send 3 oob; b recv 5; b recv 1 oob; b recv 5; reach; a send 5; a send 1 oob; b recv 10; b recv 1 oob; b recv 10",
    ),
    (
        "no out of band data",
        "a send 5; b recv 1 oob; b recv 5; b mark; b recv 5 oob peek",
    ),
    (
        "asked for out of band data before",
        "b recv 1 oob; reach; a send 5; b recv 1 oob; b recv 5; a send 1 oob; b poll; b recv 1 oob; b recv 5",
    ),
    (
        "MSG_MORE by sendmsg and sendmmsg",
        "a send 10 by=msg more; b poll; b recv 100; a send 10; b drain; a send 10 by=mmsg more; b recv 100; a send 10; b drain",
    ),
    (
        "MSG_ZEROCOPY without SO_ZEROCOPY",
        "a send 20000 zerocopy; b drain; a outq; a poll; a recv 1 by=msg errqueue",
    ),
    (
        "fill and drain",
        "a fill; a poll; b poll; b drain; a poll; a send 10; b recv 20",
    ),
    (
        "fill both ways",
        "a fill; b fill; b drain; a drain; a send 10; b send 10; b recv 20; a recv 20",
    ),
    (
        "sent bytes are acknowledged",
        "a send 100; b recv 100; a outq; b send 100; a recv 100; b outq",
    ),
    (
        "byte counters",
        "a counters; a send 100; b recv 100; a counters; b counters",
    ),
    (
        "pipelined both ways",
        "a send 100; b send 200; a send 300; b send 400; a recv 50; b recv 250; a drain; b drain; a recv 1; b recv 1",
    ),
    (
        "to a reader that has stopped, then more",
        "a send 16000; a send 16000; a send 100; b recv 10; a send 1; b drain; a send 50; b drain",
    ),
];
