//! Readiness: poll, select, epoll in its modes.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "poll and select",
        "b poll; b select; a send 100; b poll; b select; b recv 60; b poll; b recv 60; b poll; b select; a shut w; b poll; b select; b recv 1",
    ),
    (
        "level",
        "b watch level; b events; a send 100; b events; b events; b recv 60; b events; b recv 60; b events; b recv 1; b events",
    ),
    (
        "edge",
        "b watch edge; b events; a send 100; b events; b events; a send 100; b events; b events; b recv 50; b events; b recv 1000; b recv 1; b events; a send 1; b events; b recv 10; b events",
    ),
    (
        "edge, for output too",
        "a watch edge-out; a events; a events; b send 10; a events; a send 10; a events; b recv 10; a events; a recv 10; a events",
    ),
    (
        "edge, read short",
        "b watch edge; a send 100; b events; b recv 100; a send 100; a send 100; b events; b recv 150; b recv 150; b events; a send 5; b events",
    ),
    (
        "edge, added late",
        "a send 100; b watch edge; b events; b events; b rearm; b events; b recv 1000; b rearm; b events",
    ),
    (
        "one shot",
        "b watch oneshot; a send 100; b events; a send 100; b events; b rearm; b events; b recv 1000; b rearm; b events; a send 1; b events",
    ),
    (
        "exclusive",
        "b watch exclusive; b events; a send 100; b events; b recv 100; b events; a shut w; b events",
    ),
    (
        "edge: data, then the end",
        "b watch edge; a send 100; b events; b recv 1000; a shut w; b events; b recv 1; b events",
    ),
    (
        "edge: data and the end at once",
        "b watch edge; a send 100; a shut w; b events; b recv 50; b events; b recv 1000; b recv 1; b events",
    ),
    (
        "level: reset",
        "b watch level; a reset; b events; b events; b recv 1; b events; b recv 1",
    ),
    (
        "edge: reset",
        "b watch edge; a send 10; b events; a reset; b events; b recv 100; b recv 100; b events",
    ),
    (
        "waits in epoll",
        "b watch level; b wait; a send 10; b recv 10; b wait; a close; b recv 10",
    ),
    (
        "waits in epoll, edge",
        "b watch edge; b wait; a send 10; b wait; a send 10; b recv 100; b wait; a shut w",
    ),
    (
        "waits in poll",
        "b pollin; a send 10; b pollin; b recv 10; b pollin; a close",
    ),
    (
        "waits in epoll, interrupted",
        "b watch level; b wait; b signal; b wait; b signal restart; a send 1; b recv 1",
    ),
    (
        "full, then writable",
        "a watch edge-out; a events; a fill; a events; b drain; a events; a send 10; b recv 10; a events",
    ),
    (
        "watched through a duplicate",
        "b watch level; b pass; a send 10; b events; b recv 10; b events",
    ),
    (
        "own shutdown is an event",
        "b watch level; b shut r; b events; b poll; b recv 1; a send 10; b events; b recv 10; b recv 10",
    ),
    (
        "two poll at once",
        "b pollin; b pollin; a send 10; b recv 10",
    ),
];
