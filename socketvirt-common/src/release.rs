//! Release: when a socket may leave the SOCKHASH.
//!
//! Leaving frees the socket's redirect queue, and a redirect that is past its
//! verdict but not yet queued fails with `EPIPE` when its target has left. So
//! first both ends stop redirecting, then each waits until nothing is under
//! way.

/// What is known when an enrolled socket that shall leave is visited, under
/// its lock.
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
    /// Holders of the own psock: 1 is the map alone; a call that is inside
    /// sendmsg or recvmsg holds one more.
    pub psock_refs: u32,
    /// The redirect queue (`psock->ingress_msg`) is empty.
    pub queue_empty: bool,
    /// The file is in blocking mode. A reader that has got hold of the psock
    /// but not yet of the lock would then sleep on a queue that nothing fills,
    /// and its call would end with `EAGAIN`.
    pub blocking: bool,
    /// No packet waits for the psock (`psock->ingress_skb`), nor in
    /// `sk_receive_queue`.
    pub backlog_empty: bool,
}

/// Whether a socket that was told to stop can have no redirect under way: no
/// call is inside `tcp_bpf_sendmsg`, which holds the psock from before the
/// verdict until after the message is queued.
#[inline(always)]
#[must_use]
pub const fn quiet(stopped: bool, psock_refs: u32) -> bool {
    stopped && psock_refs <= 1
}

/// Whether the socket may leave now without losing a byte or failing a call.
#[inline(always)]
#[must_use]
pub const fn may_leave(leaving: &Leaving) -> bool {
    quiet(leaving.stopped, leaving.psock_refs)
        && leaving.peer_quiet
        && !leaving.blocking
        && leaving.queue_empty
        && leaving.backlog_empty
}

/// Scans that a pair stays on the stack after its release number `releases`
/// (counted from 1): twice as long each time, up to 16 times the first.
#[inline(always)]
#[must_use]
pub const fn waiting_scans(releases: u32) -> u32 {
    let doublings = if releases > 5 {
        4
    } else {
        releases.saturating_sub(1)
    };
    10 << doublings
}
