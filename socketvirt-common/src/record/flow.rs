//! The flow: hot state of one direction, in the storage of the sending socket.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::pair::{Enrolment, HandshakeId, Side};
use crate::reason::Reason;

/// The path of one direction of a connection.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Path {
    /// Plain TCP; may become fast.
    #[default]
    Stack = 0,
    /// Redirected to the peer's socket.
    Fast = 1,
    /// Plain TCP for good, with a reason.
    Kept = 2,
}

/// The way that a connection's packets take on this host.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Way {
    /// The loopback device of one network namespace.
    #[default]
    Loopback = 0,
    /// From one network namespace to another: by veth, a bridge, an overlay.
    Namespaces = 1,
}

/// The limits of what is redirected in one direction, by the way of its packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub struct Limits {
    /// Bytes of the largest message.
    pub largest: u32,
    /// Bytes that may wait in the receiver's queues, unless its program has set
    /// `SO_RCVBUF`; 0 where its buffer is the limit in any case.
    pub queue: u32,
}

/// The sender's side of a connection, as it is remembered from one message to
/// the next. It is read and written only under the lock of its socket, so
/// nothing here is atomic.
///
/// The fields that each message needs come first, in as few lines of the cache
/// as they fill.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct Flow {
    /// The pair that this direction belongs to.
    pub id: HandshakeId,
    /// Cookie of the peer, 0 until it is known to be enrolled and reading.
    pub peer_cookie: u64,
    /// Address of the peer's socket in the kernel.
    pub peer_sock: u64,
    /// Address of the cgroup that the peer's memory is charged to. 0 when it is
    /// charged to none; [`UNKNOWN_GROUP`] until the peer is accepted.
    pub peer_group: u64,
    /// The time of the last message that the stack was given, or of the
    /// enrolment: in ticks (`jiffies`).
    pub stack_at: u64,
    /// The end that the own socket is.
    pub side: Side,
    /// The path that the last message took.
    pub path: Path,
    /// The own socket's enrolment.
    pub enrolment: Enrolment,
    /// The pair's place among the watched ones; [`crate::record::watch::NOWHERE`] while
    /// it is not known.
    pub place: u32,
    /// Messages redirected since the peer's queue was last seen empty.
    pub since_empty: u32,
    /// Drained sends still required before the path becomes fast.
    pub calm: u32,
    /// `tcp_sock.write_seq` when the path became fast. While it stands, the
    /// stack was given nothing.
    pub fast_write_seq: u32,
    /// The reason that the direction is not fast.
    pub reason: Reason,
    /// Set together with `peer_cookie`.
    pub limits: Limits,
    /// Bytes and messages by path since the connection began.
    pub total: Traffic,
    /// Address of TCP's note that its memory is short, 0 when it is not known.
    pub pressure: u64,
    /// Cookie of the own socket; 0 once the connection is over.
    pub cookie: u64,
    /// Address of the own psock in the kernel, from the last enrolment. That
    /// may have been in an earlier connection of the socket.
    pub psock: u64,
    /// [`Traffic::fast_messages`] when the path became fast last.
    pub run_from: u64,
    /// The part of `total` that is already in `sv_stats`.
    pub counted: Traffic,
    /// `tcp_sock.data_segs_out` up to which segments are in `total`. They count
    /// as the messages of a socket that was not enrolled when it sent them.
    pub counted_segments: u32,
    /// 1 once both ends have been enrolled together.
    pub paired: u32,
    /// `SO_RCVLOWAT` of the program, while the socket goes without it; 0 when
    /// nothing was taken.
    pub rcvlowat: u32,
    /// Number of times that the socket was released, for the pause.
    pub releases: u32,
    /// The time of its last release: nanoseconds of `CLOCK_MONOTONIC`.
    pub released_at: u64,
}

impl Flow {
    /// Returns what is kept of a flow when its socket connects again: when it
    /// may be enrolled again.
    #[inline(always)]
    #[must_use]
    pub fn after(past: &Self) -> Self {
        Self {
            psock: past.psock,
            released_at: past.released_at,
            ..Self::default()
        }
    }

    /// True when it is of no connection yet: see [`Flow::after`]. The flow of a
    /// connection that is over has its id.
    #[inline(always)]
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.id.client_seq == 0 && self.id.server_seq == 0
    }
}

/// A [`Flow::peer_group`] that is not known yet.
pub const UNKNOWN_GROUP: u64 = 1;

/// Bytes and messages by path, and changes of path.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Traffic {
    /// Bytes redirected.
    pub fast_bytes: u64,
    /// Messages redirected.
    pub fast_messages: u64,
    /// Bytes sent by the stack, retransmissions not counted.
    pub stack_bytes: u64,
    /// Messages that took the stack: sends while the socket was enrolled,
    /// data segments while it was not.
    pub stack_messages: u64,
    /// Changes from the stack to the fast path.
    pub to_fast: u64,
    /// Changes from the fast path to the stack.
    pub to_stack: u64,
}
