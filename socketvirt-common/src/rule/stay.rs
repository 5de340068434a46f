//! Stay: does an enrolled pair stay on the fast path, or shall it leave?
//!
//! A look asks without the sockets' locks. [`super::release`] says when an end that
//! shall leave may do so.

use crate::reason::Reason;

/// The questions that one enrolled end is asked, by [`against`]. Each is asked when
/// no earlier one has decided.
pub trait End {
    /// Returns the habit of its program, see [`super::habit`].
    fn habit(&mut self) -> Reason;
    /// True when a call that finds nothing sleeps in the kernel.
    fn is_blocking(&mut self) -> bool;
    /// Returns what its options and its state say, see
    /// [`super::suitable::unsuitable`].
    fn unsuitable(&mut self) -> Reason;
    /// Returns what the processes say that read or hold it.
    fn users(&mut self) -> Reason;
    /// True when its program waits for room to send that nothing will announce.
    fn is_starved(&mut self) -> bool;
}

/// Returns why an enrolled end shall leave; [`Reason::None`] when it stays.
///
/// `eager` ends were enrolled at their handshake: they may be in blocking mode,
/// and nobody had read them.
#[inline(always)]
pub fn against(end: &mut impl End, eager: bool) -> Reason {
    let habit = end.habit();
    if !matches!(habit, Reason::None) {
        return habit;
    }
    let blocking = end.is_blocking();
    if blocking && !eager {
        return Reason::Blocking;
    }
    let unsuitable = end.unsuitable();
    // A closing connection goes by itself, and has bytes to deliver.
    if !matches!(unsuitable, Reason::None | Reason::Closing) {
        return unsuitable;
    }
    if !eager {
        let users = end.users();
        if !matches!(users, Reason::None) {
            return users;
        }
    }
    // A blocking end does not wait for an event that will not come.
    if !blocking && end.is_starved() {
        return Reason::MemoryLimit;
    }
    Reason::None
}

/// The facts about a pair of which an end is enrolled.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of the pair"
)]
pub struct Pair {
    /// Nothing is adopted any more: acceleration is off, or the agent leaves.
    pub off: bool,
    /// The reason of the policy ([`against`](crate::record::policy::Action::against)), or
    /// of the first end that something speaks against.
    pub against: Reason,
    /// Its traffic is bulk, and no end is in blocking mode. One in that mode
    /// cannot leave, and gains nothing from being stopped.
    pub bulk: bool,
    /// One of its ends has a record, and is not enrolled.
    pub halved: bool,
    /// An end waits for a visit.
    pub waits: bool,
    /// Visits have not enrolled the other end, see [`super::adoption::in_vain`].
    pub in_vain: bool,
}

/// Returns why an enrolled pair shall leave; [`Reason::None`] when it stays.
#[inline(always)]
#[must_use]
pub const fn leave(pair: &Pair) -> Reason {
    if pair.off {
        Reason::Draining
    } else if !matches!(pair.against, Reason::None) {
        pair.against
    } else if pair.bulk {
        Reason::Bulk
    } else if pair.halved && !pair.waits && pair.in_vain {
        Reason::PeerNotEnrolled
    } else {
        Reason::None
    }
}
