//! Events: what happens to sockets, as it happens.

use crate::{reason::Reason, row::Text, status::Status};

/// What happened.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Another status.
    #[default]
    STATUS = 0,
    /// Two sockets are the ends of one connection.
    PAIR = 1,
    /// A pair was enrolled.
    ADOPT = 2,
    /// A pair was released.
    RELEASE = 3,
    /// A socket stays on the stack for good.
    PIN = 4,
}

/// One event, as it lies in `sv_events`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The socket.
    pub id: u64,
    /// The other end, 0 when it is not known.
    pub peer: u64,
    /// What happened.
    pub what: What,
    /// The status before, of [`What::STATUS`].
    pub from: Status,
    /// The status now, of [`What::STATUS`].
    pub to: Status,
    /// Why, of the others.
    pub reason: Reason,
    /// Own port, host byte order.
    pub local_port: u32,
    /// Other port, host byte order.
    pub remote_port: u32,
    /// 1 when a scan found it, some time after it happened.
    pub scanned: u32,
    /// Process of the socket, where it is known.
    pub pid: u32,
    /// Its name.
    pub command: Text<16>,
}

/// What the table counts, one set for each CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TableStats {
    /// Sockets that got no row, because the map was full of living ones.
    pub missing: u64,
    /// Rows of closed sockets that made room for others.
    pub evicted: u64,
    /// Events sent.
    pub events: u64,
    /// Events that nobody had made room for.
    pub events_lost: u64,
}

/// How long a follower is taken to be there after it last said so, in
/// nanoseconds. Nobody follows: no event is made.
pub const LEASE: u64 = 3_000_000_000;
