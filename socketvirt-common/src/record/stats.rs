//! Counters, one set for each CPU.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::flow::Traffic;
use crate::reason::REASONS;

/// The bounds by which times to adoption are counted, nanoseconds: a pair that took as
/// long as a bound is below it.
pub const TIMES: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// The slots in which times to adoption are counted: one for each of [`TIMES`], and one
/// for longer ones.
pub const SLOTS: usize = TIMES.len() + 1;

/// The counts since the data path was loaded. Each CPU has its own set; the sum
/// is the truth.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct Stats {
    /// Sockets whose connect(2) was answered.
    pub connected: u64,
    /// Sockets that a listener has made.
    pub accepted: u64,
    /// Sockets that have a flow: those that a scan has found to have their
    /// peer on this host, and those enrolled at the handshake.
    pub followed: u64,
    /// Connections whose two ends were found on this host.
    pub pairs: u64,
    /// Pairs adopted in mid-life.
    pub adopted: u64,
    /// Sockets that were adopted with bytes unread.
    pub adopted_unread: u64,
    /// Pairs enrolled at the handshake.
    pub eager: u64,
    /// Pairs released again.
    pub released: u64,
    /// Bytes, messages and switches of all followed sockets.
    pub traffic: Traffic,
    /// Followed sockets that ended without a redirected byte, by
    /// [`crate::reason::Reason`].
    pub left_on_stack: [u64; REASONS],
    /// Number of connections not followed, and of ends not enrolled, because
    /// `sv_watched`, `sv_ends`, `sv_pairs` or `sv_next` was full.
    pub pairs_full: u64,
    /// Sockets that got no storage.
    pub storage_full: u64,
    /// Enrolments that the kernel refused because another map has the socket
    /// (`EBUSY`).
    pub enrol_busy: u64,
    /// Enrolments that the kernel refused for another cause.
    pub enrol_refused: u64,
    /// Redirects that did not find an open peer in `sv_fast`; the message
    /// took the stack.
    pub redirect_missed: u64,
    /// Packets that were lost, because the bytes in them that had arrived
    /// before could not be cut off. The kernel had no memory for a copy of 4
    /// KiB.
    pub packets_lost: u64,
    /// Pairs adopted, by the time that it took ([`crate::rule::adoption::slot`]).
    pub adoption_times: [u64; SLOTS],
    /// The sum of these times, nanoseconds.
    pub adoption_time: u64,
    /// Programs whose vouch is void, because they have done what it denies.
    pub vouches_void: u64,
    /// Connections that were reset, because they were stuck by that.
    pub resets: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            connected: 0,
            accepted: 0,
            followed: 0,
            pairs: 0,
            adopted: 0,
            adopted_unread: 0,
            eager: 0,
            released: 0,
            traffic: Traffic::default(),
            left_on_stack: [0; REASONS],
            pairs_full: 0,
            storage_full: 0,
            enrol_busy: 0,
            enrol_refused: 0,
            redirect_missed: 0,
            packets_lost: 0,
            adoption_times: [0; SLOTS],
            adoption_time: 0,
            vouches_void: 0,
            resets: 0,
        }
    }
}
