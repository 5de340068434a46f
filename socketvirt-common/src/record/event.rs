//! Notes: what happens to sockets, written down as it happens.
//!
//! A hook that a connection waits for does no more than this: it takes the next
//! number, fills one slot of a ring and goes on. Rows are made from notes
//! later, by whoever looks.
//!
//! The ring is written over and over. Each reader keeps its own position, so
//! any number of readers see everything. A reader that falls behind knows by
//! the numbers how many notes it has lost.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::text::Text;
use crate::reason::Reason;

/// The kind of a note.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum What {
    /// Nothing yet.
    #[default]
    NOTHING = 0,
    /// A socket was made by socket(2).
    CREATED = 1,
    /// A socket got an own port by bind(2).
    BOUND = 2,
    /// TCP has changed its state.
    STATE = 3,
    /// The last descriptor was closed.
    CLOSED = 4,
    /// A scan has found another status than the row had.
    SCANNED = 5,
    /// Two sockets are the ends of one connection.
    PAIR = 6,
    /// A pair was enrolled.
    ADOPT = 7,
    /// A pair was released.
    RELEASE = 8,
    /// A socket stays on the stack for good.
    KEEP = 9,
}

/// One note, as it lies in `sv_events`. It has two cache lines; most notes
/// touch the first alone. A field that a note does not set keeps what an older
/// note has left.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
pub struct Note {
    /// Its number, counted from 1; 0 while it is being written.
    pub seq: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The socket.
    pub id: u64,
    /// The kind of the note.
    pub what: What,
    /// The state before; of [`What::CREATED`] the type, of [`What::SCANNED`]
    /// the status before.
    pub before: u8,
    /// The state now; of [`What::SCANNED`] the status.
    pub after: u8,
    /// 1 when a file holds the socket.
    pub held: u8,
    /// `sk_family`.
    pub family: u16,
    /// `sk_protocol`.
    pub protocol: u16,
    /// Own port, host byte order.
    pub local_port: u16,
    /// Other port, host byte order.
    pub remote_port: u16,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Next byte to be sent, when the connection was established.
    pub own_seq: u32,
    /// Next byte to come, then.
    pub peer_seq: u32,
    /// The reason, of [`What::RELEASE`] and [`What::KEEP`].
    pub reason: Reason,
    /// `sk_err`.
    pub error: u32,
    /// The other end, where the note is about a pair.
    pub peer: u64,
    /// Own address in network byte order; IPv4 in the first word.
    pub local: [u32; 4],
    /// The other end's.
    pub remote: [u32; 4],
    /// Name of the process.
    pub command: Text<16>,
    /// Its cgroup.
    pub cgroup: u64,
    /// The process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// Counters of the keeper of the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct TableStats {
    /// The number of the last note that is in the rows.
    pub noted: u64,
    /// Notes that were written over before they were read.
    pub lost: u64,
    /// Sockets that got no row, because the map was full of living ones.
    pub missing: u64,
    /// Rows of closed sockets that made room for others.
    pub evicted: u64,
}

/// Notes that the ring of a kept table holds: a power of two.
pub const NOTES: u32 = 32_768;

/// Notes that the ring of an agent holds, which only notes what it does.
pub const AGENT_NOTES: u32 = 1024;
