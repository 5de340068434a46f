//! Worth: which connections gain from the fast path.
//!
//! A redirect wins where requests and responses alternate and loses on bulk,
//! because TCP batches while each redirect pays an allocation, a lock
//! hand-over and a wake-up.

/// What one end sent between two scans.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Payload bytes.
    pub bytes: u64,
    /// Messages: sends of an enrolled socket, data segments of one that is
    /// not (`tcp_sock.data_segs_out`).
    pub messages: u32,
    /// The measuring scan at the end of this time; 0 before the first.
    pub scan: u32,
}

/// What the traffic of a pair looks like.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// There is nothing to compare yet.
    Unknown = 3,
    /// Too little to tell.
    Quiet = 0,
    /// Requests and responses with small messages.
    Exchange = 1,
    /// Large or one-way.
    Bulk = 2,
}

/// Exchanges between two scans from which on a connection is worth it.
pub const MIN_EXCHANGES: u32 = 2;

/// Bytes for each exchange, in either direction, up to which the fast path
/// wins. Above the largest message that is redirected
/// ([`crate::path::BULK_MESSAGE`]), so that exchanges of such messages do not
/// stand on the edge.
pub const MAX_EXCHANGE_BYTES: u64 = 96 * 1024;

/// Judges a pair by the last scan that measured both its ends.
///
/// The end that a scan visits first finds its peer's record of the scan
/// before, and must not compare it with its own new one: after a pause, that
/// would be a stream into silence. So each end keeps its record before last.
#[inline(always)]
#[must_use]
pub const fn judge_latest(own: &Sent, own_before: &Sent, peer: &Sent) -> Worth {
    if peer.scan == 0 {
        Worth::Unknown
    } else if own.scan == peer.scan {
        judge(own, peer)
    } else if own_before.scan == peer.scan {
        judge(own_before, peer)
    } else {
        Worth::Unknown
    }
}

/// Judges what both ends sent between two scans.
///
/// An exchange needs a message each way, so their number is at most the
/// smaller count: a one-way stream has none, and a download has few for its
/// bytes, also where a small MSS cuts a response into many segments.
#[inline(always)]
#[must_use]
pub const fn judge(one: &Sent, other: &Sent) -> Worth {
    let exchanges = if one.messages < other.messages {
        one.messages
    } else {
        other.messages
    };
    // One more, because an exchange may be cut by the scan.
    let limit = MAX_EXCHANGE_BYTES * (exchanges as u64 + 1);
    if one.bytes > limit || other.bytes > limit {
        Worth::Bulk
    } else if exchanges >= MIN_EXCHANGES {
        Worth::Exchange
    } else {
        Worth::Quiet
    }
}
