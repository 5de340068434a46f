//! Worth: which connections gain from the fast path.
//!
//! A redirect wins where requests and responses alternate. It loses on bulk,
//! because TCP batches while each redirect pays an allocation, a lock hand-over
//! and a wake-up.

/// The traffic that one end sent in the time under measurement.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Payload bytes.
    pub bytes: u64,
    /// Messages: sends of an enrolled socket, data segments of one that is
    /// not (`tcp_sock.data_segs_out`).
    pub messages: u32,
}

impl Sent {
    /// True when the kernel's counters of a socket that has ended are still its own, and
    /// more than the `counted` ones. Its memory may be somebody else's by now, in parts.
    ///
    /// `first` is the number of its first byte, `write_seq` that of the byte after its
    /// last (`tcp_sock`), the end of its stream included. Each segment has a byte.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sequence numbers are the lower half of a count"
    )]
    pub const fn is_of_ended(&self, counted: &Self, first: u32, write_seq: u32) -> bool {
        let bytes = self.bytes.wrapping_sub(counted.bytes);
        let messages = self.messages.wrapping_sub(counted.messages);
        let beside = write_seq
            .wrapping_sub(first)
            .wrapping_sub(self.bytes as u32);
        beside <= 1 && bytes <= u32::MAX as u64 && messages as u64 <= bytes
    }
}

/// The kind of a pair's traffic.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Too little to tell.
    Quiet = 0,
    /// Requests and responses with small messages.
    Exchange = 1,
    /// Large or one-way.
    Bulk = 2,
}

/// Exchanges within [`WINDOW`] from which on a connection is worth it.
pub const MIN_EXCHANGES: u32 = 2;

/// Bytes for each exchange, in either direction, up to which the fast path
/// wins. It is above the largest message that is redirected
/// ([`crate::rule::pressure::BULK_MESSAGE`]), so that exchanges of such messages do not
/// stand on the edge.
pub const MAX_EXCHANGE_BYTES: u64 = 96 * 1024;

/// The time for which a pair is measured at most before measuring begins anew,
/// nanoseconds. A connection with fewer exchanges a second gains nothing.
pub const WINDOW: u64 = 1_000_000_000;

/// The time that a pair waits after it was found to be bulk, nanoseconds.
pub const BULK_PAUSE: u64 = 200_000_000;

/// True when measuring begins anew after a look that found `worth`, `age`
/// nanoseconds after it began.
#[inline(always)]
#[must_use]
pub const fn begins_anew(worth: Worth, age: u64) -> bool {
    !matches!(worth, Worth::Quiet) || age >= WINDOW
}

/// Judges what both ends sent in the same time.
///
/// An exchange needs a message each way, so the number of exchanges is at most
/// the smaller count. A one-way stream has none. A download has few for its
/// bytes, also where a small MSS cuts a response into many segments.
#[inline(always)]
#[must_use]
pub const fn judge(one: &Sent, other: &Sent) -> Worth {
    let exchanges = if one.messages < other.messages {
        one.messages
    } else {
        other.messages
    };
    // One more, because an exchange may be cut by the look.
    let limit = MAX_EXCHANGE_BYTES * (exchanges as u64 + 1);
    if one.bytes > limit || other.bytes > limit {
        Worth::Bulk
    } else if exchanges >= MIN_EXCHANGES {
        Worth::Exchange
    } else {
        Worth::Quiet
    }
}
