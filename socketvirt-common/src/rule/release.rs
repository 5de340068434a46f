//! Release: when a socket may leave the SOCKHASH.
//!
//! Leaving frees the socket's redirect queue. A redirect that is past its
//! verdict, but not yet queued, fails with `EPIPE` when its target has left. So
//! first both ends stop redirecting; then each waits until nothing is under
//! way.

use crate::{
    reason::Reason,
    uapi::{TCP_CLOSE_WAIT, TCP_ESTABLISHED},
};

/// The state of an enrolled socket that shall leave, at a visit under its lock.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent condition of leaving"
)]
pub struct Leaving {
    /// The own direction no longer redirects.
    pub stopped: bool,
    /// The peer is known to send nothing by redirect, see [`quiet`], or is
    /// not enrolled.
    pub peer_quiet: bool,
    /// Holders of the own psock. 1 is the map alone; a call that is inside
    /// sendmsg or recvmsg holds one more.
    pub psock_refs: u32,
    /// The redirect queue (`psock->ingress_msg`) is empty.
    pub queue_empty: bool,
    /// See [`readers_hold`].
    pub held_by_readers: bool,
    /// No packet waits for the psock (`psock->ingress_skb`), nor in
    /// `sk_receive_queue`.
    pub backlog_empty: bool,
}

/// True when a socket that was told to stop can have no redirect under way.
///
/// No call is then inside `tcp_bpf_sendmsg`, which holds the psock from before
/// the verdict until after the message is queued.
#[inline(always)]
#[must_use]
pub const fn quiet(stopped: bool, psock_refs: u32) -> bool {
    stopped && psock_refs <= 1
}

/// True when readers keep an enrolled socket of this mode, which is to leave
/// for `leave`, from leaving.
///
/// In blocking mode, a reader that has got hold of the psock but not yet of the
/// lock would sleep on a queue that nothing fills. Its call would end with
/// `EAGAIN`.
///
/// A socket that was adopted and turned blocking leaves all the same. Otherwise
/// every wake-up without data would end its calls so from now on. A reader that
/// comes in this very moment gets that `EAGAIN` once.
#[inline(always)]
#[must_use]
pub const fn readers_hold(blocking: bool, leave: Reason) -> bool {
    blocking && !matches!(leave, Reason::Blocking)
}

/// True when the socket may leave now without losing a byte or failing a call.
#[inline(always)]
#[must_use]
pub const fn may_leave(leaving: &Leaving) -> bool {
    quiet(leaving.stopped, leaving.psock_refs)
        && leaving.peer_quiet
        && !leaving.held_by_readers
        && leaving.queue_empty
        && leaving.backlog_empty
}

/// The state of an enrolled socket whose connection has ended while its program
/// still holds it, under its lock.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of the two sockets"
)]
pub struct Ended {
    /// The peer is another connection's socket by now, or has no file: no call
    /// of it is under way.
    pub peer_gone: bool,
    /// No call of the peer is between a verdict and its queueing.
    pub peer_idle: bool,
    /// Holders of the own psock, see [`Leaving`].
    pub psock_refs: u32,
    /// Nothing is left to be read.
    pub nothing_queued: bool,
    /// See [`disconnected`].
    pub disconnected: bool,
}

/// True when its socket may leave at once. A call that is inside the own psock
/// keeps the psock until it returns.
#[inline(always)]
#[must_use]
pub const fn may_go(ended: &Ended) -> bool {
    let no_sender = ended.peer_gone || ended.peer_idle && quiet(true, ended.psock_refs);
    no_sender && (ended.nothing_queued || ended.disconnected)
}

/// True when a connection that has ended in the state `before` was ended by its
/// own program, with `connect(AF_UNSPEC)`. Plain TCP drops what is unread then.
/// Everything else that closes an open connection leaves an error.
#[inline(always)]
#[must_use]
pub const fn disconnected(before: u32, error: u32) -> bool {
    error == 0 && (before == TCP_ESTABLISHED as u32 || before == TCP_CLOSE_WAIT as u32)
}

/// Returns the nanoseconds that a pair stays on the stack after its release
/// number `releases` (counted from 1), of which the first is `first`.
///
/// Each is twice as long as the one before, up to 16 times the first. A pair
/// that was released soon after it was adopted would be so again.
#[inline(always)]
#[must_use]
pub const fn pause(releases: u32, first: u64) -> u64 {
    let doublings = match releases {
        0 => return 0,
        1..=5 => releases - 1,
        _ => 4,
    };
    first << doublings
}

/// The state of the last enrolment of a socket that may be enrolled again,
/// under its lock.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// The kernel has done with its psock, or there was none.
    pub psock_done: bool,
    /// Number of times that it was released.
    pub releases: u32,
    /// Nanoseconds since it was released last.
    pub age: u64,
    /// See [`pause`]: nanoseconds.
    pub first_pause: u64,
}

/// True when the socket may be enrolled again.
///
/// `sk_psock_backlog` takes a reference of the psock that its socket has
/// *then*, and puts one of its own. A socket that is deleted and inserted in
/// between leaves two wrong counts. The new psock has one reference too many,
/// and never goes; the old one has one too few.
///
/// That work is scheduled whenever there is room to send again
/// (`sk_psock_write_space`), with nothing queued, so empty queues do not tell.
/// No time is long enough either, as a worker may be kept from its CPU. The
/// kernel waits for the work before it destroys the psock, and that can be
/// seen. (K-ENROL-2 in `docs/kernel`.)
#[inline(always)]
#[must_use]
pub const fn may_return(past: &Past) -> bool {
    past.psock_done && past.age >= pause(past.releases, past.first_pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Ended = Ended {
        peer_gone: true,
        peer_idle: false,
        psock_refs: 1,
        nothing_queued: true,
        disconnected: false,
    };

    #[test]
    fn readers_of_a_blocking_socket_hold_it_unless_it_turned_so() {
        assert!(readers_hold(true, Reason::Draining));
        assert!(readers_hold(true, Reason::None));
        assert!(!readers_hold(true, Reason::Blocking));
        assert!(!readers_hold(false, Reason::Draining));
    }

    #[test]
    fn unread_bytes_outlive_a_reset_alone() {
        assert!(may_go(&RESET));
        let unread = Ended {
            nothing_queued: false,
            ..RESET
        };
        assert!(!may_go(&unread));
        let disconnected = Ended {
            disconnected: true,
            ..unread
        };
        assert!(may_go(&disconnected));
    }

    #[test]
    fn a_peer_that_may_send_is_waited_for() {
        let there = Ended {
            peer_gone: false,
            ..RESET
        };
        assert!(!may_go(&there));
        let idle = Ended {
            peer_idle: true,
            ..there
        };
        assert!(may_go(&idle));
        // It may be the peer's call that holds the own psock.
        let held = Ended {
            psock_refs: 2,
            ..idle
        };
        assert!(!may_go(&held));
    }

    #[test]
    fn only_a_disconnect_leaves_no_error() {
        const FIN_WAIT2: u32 = 5;
        assert!(disconnected(u32::from(TCP_ESTABLISHED), 0));
        assert!(disconnected(u32::from(TCP_CLOSE_WAIT), 0));
        assert!(!disconnected(u32::from(TCP_ESTABLISHED), 104));
        assert!(!disconnected(FIN_WAIT2, 0));
    }
}
