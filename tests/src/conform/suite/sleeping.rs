//! Blocking calls, and what wakes them.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "blocking receive gets data",
        "b block; b recv 8000; a send 1; b recv 8000; a send 100; b recv 8000; a send 5000; b recv 10 dontwait",
    ),
    (
        "blocking since before",
        "b block; a block; reach; b recv 8000; a send 100; a recv 100; b send 50; b recv 10; a close",
    ),
    (
        "blocking read, recvmsg, readv",
        "b block; b recv 10 by=file; a send 5; b recv 10 by=msg; a send 5; b recv 10 by=vec; a send 5; b recv 10 by=mmsg; a send 10",
    ),
    (
        "blocking io_uring",
        "b block; b recv 10 by=uring; a send 5; b recv 10 by=uring; a shut w",
    ),
    (
        "blocking splice",
        "b block; b recv 10 by=splice; a send 5; b recv 10 by=splice; a shut w",
    ),
    (
        "blocking receive sees the end",
        "b block; b recv 10; a shut w; b recv 10",
    ),
    (
        "blocking receive sees a close",
        "b block; b recv 10; a close; b recv 10",
    ),
    (
        "blocking receive sees a reset",
        "b block; b recv 10; a reset; b recv 10",
    ),
    (
        "blocking receive, own shutdown for reading",
        "b block; b recv 10; b shut r; b recv 10; a send 5",
    ),
    (
        "blocking receive, own shutdown for both",
        "b block; b recv 10; b shut rw; b recv 10",
    ),
    (
        "blocking receive, own shutdown for writing",
        "b block; b recv 10; b shut w; a send 5; b recv 10; a close",
    ),
    (
        "blocking receive interrupted",
        "b block; b recv 10; b signal; a send 5; b recv 10",
    ),
    (
        "blocking receive interrupted with SA_RESTART",
        "b block; b recv 10; b signal restart; b signal restart; a send 5",
    ),
    (
        "blocking read interrupted",
        "b block; b recv 10 by=file; b signal; b recv 10 by=file; b signal restart; a send 5",
    ),
    (
        "blocking receive, blocking since before, interrupted",
        "b block; reach; b recv 10; b signal restart; a send 5; b recv 10; b signal; a send 5; b recv 10",
    ),
    (
        "blocking MSG_WAITALL",
        "b block; b recv 300 waitall; a send 100; a send 100; a send 100",
    ),
    (
        "blocking MSG_WAITALL, partly there",
        "b block; a send 100; b recv 300 waitall; a send 100; a send 150; b recv 50",
    ),
    (
        "blocking MSG_WAITALL interrupted",
        "b block; a send 100; b recv 300 waitall; b signal; a send 200; b recv 300",
    ),
    (
        "blocking MSG_WAITALL meets the end",
        "b block; b recv 300 waitall; a send 100; a shut w",
    ),
    (
        "blocking MSG_WAITALL and MSG_PEEK",
        "b block; b recv 30 waitall peek; a send 10; a send 20; b recv 30",
    ),
    (
        "blocking peek",
        "b block; b recv 30 peek; a send 10; b recv 30",
    ),
    (
        "blocking send",
        "a block; a fill; a send 4096; b drain; a send 10; b drain",
    ),
    (
        "blocking send interrupted",
        "a block; a fill; a send 4096; a signal; b drain; a send 10; b drain",
    ),
    (
        "blocking send interrupted with SA_RESTART",
        "a block; a fill; a send 4096; a signal restart; b drain; b drain",
    ),
    (
        "blocking send, peer closes",
        "a block; a fill; a send 4096; b close; a send 10",
    ),
    (
        "blocking send, peer resets",
        "a block; a fill; a send 4096; b reset; a send 10",
    ),
    (
        "blocking sendfile",
        "a block; a fill; a send 4096 by=sendfile; b drain; b drain",
    ),
    (
        "one thread reads, one writes",
        "b block; b recv 100; b send 100; a recv 100; a send 100; b recv 100; b send 100; a recv 100; a send 100",
    ),
    (
        "one thread reads, one fills",
        "b block; b recv 100; b fill; a drain; a send 100; b recv 5 dontwait",
    ),
    (
        "two threads read",
        "b block; b recv 100 waitall; a send 100; b recv 50; a send 50",
    ),
    (
        "non-blocking again",
        "b block; b recv 10; a send 10; b nonblock; b recv 10; b block; b recv 10; a send 10",
    ),
    (
        "turned non-blocking under a reader",
        "b block; b recv 10; b nonblock; a send 10; b recv 10",
    ),
    (
        "blocking, with MSG_DONTWAIT",
        "b block; b recv 10 dontwait; a send 10; b recv 10 dontwait; b recv 10 dontwait",
    ),
    (
        "closed under a reader",
        "b block; b recv 10; b dup; a send 10; a close",
    ),
];
