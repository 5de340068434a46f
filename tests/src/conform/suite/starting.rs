//! Events before accept(2), and connections that begin anew.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "send before accept",
        "a connect; a send 100; a send 5000; b accept; b inq; a send 10; b drain; b send 10; a drain",
    ),
    (
        "send and close before accept",
        "a connect; a send 100; a close; b accept; b poll; b drain; b recv 9",
    ),
    (
        "send and shut down before accept",
        "a connect; a send 100; a shut w; b accept; b poll; b drain; b recv 9; b send 2000; a drain",
    ),
    (
        "reset before accept",
        "a connect; a send 100; a reset; b accept; b poll; b recv 1000; b recv 9",
    ),
    (
        "server speaks first",
        "a connect; b accept; b send 100; a drain; a send 100; b drain",
    ),
    (
        "server speaks first, then reached",
        "a connect; b accept; b send 100; a drain; reach; b send 100; a drain; a send 100; b drain",
    ),
    (
        "both speak at once",
        "a connect; b accept; a send 1000; b send 2000; a drain; b drain",
    ),
    (
        "the other end connects",
        "b connect; a accept; reach; a send 10; b recv 10; b send 10; a recv 5; b shut w; a drain; a close; b poll",
    ),
    (
        "closed at once",
        "a connect; b accept; a close; b poll; b recv 9; b send 9; b send 9",
    ),
    (
        "closed at once by the server",
        "a connect; b accept; b close; a poll; a recv 9; a send 9; a send 9",
    ),
    (
        "TCP_DEFER_ACCEPT",
        "listen defer 5; a connect; a send 100; b accept; b inq; b drain; b send 10; a drain",
    ),
    (
        "TCP_DEFER_ACCEPT, then reached",
        "listen defer 5; a connect; a send 100; b accept; b drain; reach; a send 10; b recv 10; b send 10; a recv 10",
    ),
    (
        "Fast Open",
        "listen fastopen 16; a connect 100; b accept; b inq; a send 50; b drain; b send 10; a drain",
    ),
    (
        "Fast Open, then reached",
        "listen fastopen 16; a connect 100; b accept; b drain; reach; a send 50; b recv 100; b send 10; a recv 100",
    ),
    (
        "reconnect",
        "a send 10; b recv 10; a disconnect; b poll; b recv 1; a recv 1; a connect; b accept; a poll; b send 500; a drain; a send 400; b drain; a recv 1",
    ),
    (
        "reconnect with unread bytes",
        "b send 700; a recv 100; a disconnect; b poll; b send 3; a recv 100; a connect; b accept; a recv 100; b send 500; a drain; a send 400; b drain; reach; a send 5; b recv 10; b send 5; a recv 10",
    ),
    (
        "reconnect of a socket that has shut down",
        "a shut w; b recv 1; b close; a recv 1; a disconnect; a connect; b accept; a send 10; b recv 10",
    ),
];
