//! Sockets that have more than one holder, or change hands.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "dup",
        "b dup; a send 10; b recv 10; b send 10; a recv 10; a dup; a send 5; b recv 10",
    ),
    (
        "SCM_RIGHTS",
        "b pass; a send 10; b recv 10; a pass; b send 10; a recv 10; a send 5; b recv 10",
    ),
    (
        "SCM_RIGHTS with bytes there",
        "a send 100; b recv 10; b pass; b inq; b recv 100; b recv 1",
    ),
    (
        "fork: the child receives",
        "a send 100; fork b recv 60; b recv 100; fork b recv 10; fork b poll",
    ),
    (
        "fork: the child sends",
        "fork a send 100; b recv 60; a send 10; fork a send 20; b drain",
    ),
    (
        "fork: the child shuts down",
        "fork a shut w; b recv 1; a send 1; b send 10; a recv 10",
    ),
    (
        "fork: the child ends with the socket",
        "fork b poll; a send 10; b recv 10; a close; fork b recv 1",
    ),
    (
        "handed to another process",
        "a send 100; handover b recv 60; b recv 100; handover b send 50; a recv 100; handover a send 10; b recv 10",
    ),
    (
        "handed over with nothing there",
        "handover b recv 10; a send 10; handover b poll; handover b recv 5 peek; handover b recv 20; handover b shut w; a recv 1",
    ),
    (
        "handed over, options",
        "handover b set rcvlowat 1; handover b get nodelay; handover b inq; a send 10; handover b inq; b recv 10",
    ),
    (
        "O_NONBLOCK toggled by another holder",
        "b dup; b block; b nonblock; b recv 10; a send 10; b recv 10",
    ),
    (
        "closed by one holder",
        "b dup; b pass; a send 10; b recv 5; b close; a poll; a recv 1",
    ),
];
