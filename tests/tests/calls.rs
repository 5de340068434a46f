//! Each way to send and to receive answers as plain TCP does.

use socketvirt_tests::{
    run::Mode,
    traces::{Excuse, compare, compare_blocking},
};

/// Eager mode is for programs that an operator has vetted: what an enrolled
/// socket does otherwise is the kernel's, and adopt mode keeps such sockets
/// on the stack.
const EAGER: &[Excuse] = &[
    (
        "splice out of",
        "splice out of an enrolled socket finds nothing",
    ),
    ("wait for all", "MSG_WAITALL is short on redirected bytes"),
    ("SO_RCVLOWAT", "a redirect ignores SO_RCVLOWAT"),
    ("SO_ZEROCOPY", "completions of redirected sends never come"),
    ("SO_PEEK_OFF", "an enrolled socket ignores SO_PEEK_OFF"),
    ("SO_TIMESTAMP", "redirected bytes have no timestamp"),
    ("TCP_INQ", "an enrolled socket does not report TCP_INQ"),
    ("SO_OOBINLINE", "urgent data arrives as normal data"),
    ("out of band", "urgent data arrives as normal data"),
    ("discard by MSG_TRUNC", "an enrolled socket copies instead"),
    (
        "sleeping reader interrupted",
        "an enrolled socket answers EAGAIN instead of EINTR",
    ),
    (
        "sleeping reader sees a reset",
        "an enrolled socket answers EAGAIN before the error",
    ),
    (
        "sleeping reader shut down",
        "an enrolled socket answers EAGAIN before the end of file",
    ),
    (
        "sleeping reader, second thread",
        "an enrolled socket answers EAGAIN when its sender is woken",
    ),
    (
        "sleeping reader waits for all",
        "MSG_WAITALL is short on redirected bytes",
    ),
];

/// What adopt mode cannot see coming.
const ADOPTED: &[Excuse] = &[("out of band", "urgent data arrives as normal data")];

#[test]
fn calls_on_adopted_connections() {
    compare(Mode::Adopt, "calls", ADOPTED);
}

#[test]
fn calls_on_eager_connections() {
    compare(Mode::Eager, "calls", EAGER);
}

#[test]
fn calls_on_eager_blocking_connections() {
    compare_blocking("calls", EAGER);
}

/// Options that a redirect would not honour keep a socket on the stack.
#[test]
fn options_on_connections_that_would_be_adopted() {
    compare(Mode::Adopt, "options", &[]);
}

#[test]
fn options_on_eager_connections() {
    compare(Mode::Eager, "options", EAGER);
}

#[test]
fn sleeping_readers() {
    compare_blocking("sleeping", EAGER);
}
