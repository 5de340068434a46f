//! The path of one message: the decision taken at every send.

use super::{order, pressure};
use crate::{
    reason::Reason,
    record::flow::Path,
    uapi::{SEND_SHUTDOWN, TCP_CLOSE_WAIT, TCP_ESTABLISHED},
};

/// Sends that must each find the direction drained before it becomes fast
/// again, once the receiver's queue had been full. So a stream whose reader
/// keeps falling behind stays on the stack, instead of changing path all the
/// time.
pub const CALM_SENDS: u32 = 16;

/// Messages on end that make a time on the fast path worth the changes around it,
/// between namespaces.
pub const WORTHY_RUN: u64 = 4;

/// Returns the sends that must find the direction drained ([`CALM_SENDS`]) after the
/// receiver's queue was full, `run` messages after the path became fast.
///
/// Between namespaces, where a `queue` of its own holds many messages, a fast sender
/// fills it now and then though its reader keeps up. What is redirected in between is
/// worth the change. A direction that hardly becomes fast is calmed there too.
#[inline(always)]
#[must_use]
pub const fn calm(queue: u32, run: u64) -> u32 {
    if queue != 0 && run >= WORTHY_RUN {
        0
    } else {
        CALM_SENDS
    }
}

/// The time, in nanoseconds, for which a direction gives the stack nothing. The
/// next message after that takes the stack.
///
/// Nothing that lies on the way sees redirected bytes. Connection tracking
/// would forget the connection, and translate or let through nothing of it any
/// more. A firewall's new rule, or a link that goes down, would not stop it.
///
/// With a message a second on the stack neither differs from plain TCP for
/// long. A message that does not get through holds back all that follow, by the
/// rule of order.
pub const HEARTBEAT: u64 = 1_000_000_000;

/// The sender's own side of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// `sk_state`.
    pub state: u8,
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// `tcp_sock.write_seq`.
    pub write_seq: u32,
    /// The path that the previous message took.
    pub path: Path,
    /// `write_seq` when the path became fast.
    pub fast_write_seq: u32,
    /// Messages redirected since the peer's queue was last seen empty.
    pub since_empty: u32,
    /// Drained sends that are still required, see [`CALM_SENDS`].
    pub calm: u32,
    /// Bytes in this message.
    pub size: u32,
    /// Bytes of the largest message that is redirected, see [`super::way`].
    pub largest: u32,
    /// Nanoseconds since the stack was given a message, or the socket was
    /// enrolled.
    pub stack_age: u64,
}

impl Own {
    /// True when the direction is fast, and nothing of it has been given to the
    /// stack since it became so, by whatever way around the program.
    #[inline(always)]
    #[must_use]
    pub const fn stays_fast(&self) -> bool {
        matches!(self.path, Path::Fast) && self.write_seq == self.fast_write_seq
    }
}

/// The receiver's side of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// `sk_shutdown`: a peer that has begun to close may leave `sv_fast` at
    /// any time.
    pub shutdown: u8,
    /// `tcp_sock.copied_seq`. Only looked at when [`Own::stays_fast`] does not
    /// hold.
    pub copied_seq: u32,
    /// `sk_rmem_alloc`: bytes in the receive queues.
    pub queued: u32,
    /// Limit of the receive queues in bytes, see [`super::way::room`].
    pub limit: u32,
}

/// The way that a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To the peer's socket.
    Redirect,
    /// To the stack, for this reason.
    Stack(Reason),
    /// To the stack, though it could be redirected: one of [`CALM_SENDS`].
    Calm,
    /// The same: see [`HEARTBEAT`].
    Heartbeat,
}

/// True when the own socket may send by redirect at all: `tcp_sendmsg` would
/// accept the bytes.
///
/// A redirect does not look at the state, so a send after `shutdown(SHUT_WR)`
/// would succeed.
#[inline(always)]
#[must_use]
pub const fn may_send(state: u8, shutdown: u8) -> bool {
    (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT) && shutdown as u32 & SEND_SHUTDOWN == 0
}

/// Decides about one message, on a direction whose peer is known, is enrolled,
/// and has proved that it reads the fast way.
#[inline(always)]
#[must_use]
pub const fn decide(own: &Own, peer: &Peer) -> Decision {
    if !may_send(own.state, own.shutdown) || peer.shutdown != 0 {
        return Decision::Stack(Reason::Closing);
    }
    if own.size > own.largest {
        return Decision::Stack(Reason::Bulk);
    }
    let messages = pressure::messages_queued(peer.queued, own.since_empty);
    if !pressure::fits(peer.queued, messages, own.size, peer.limit) {
        return Decision::Stack(Reason::QueueFull);
    }
    if !own.stays_fast() {
        if !order::drained(peer.copied_seq, own.write_seq) {
            return Decision::Stack(Reason::NotDrained);
        }
        if own.calm > 0 {
            return Decision::Calm;
        }
    }
    if own.stack_age >= HEARTBEAT {
        return Decision::Heartbeat;
    }
    Decision::Redirect
}
