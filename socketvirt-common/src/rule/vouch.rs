//! Vouches: what an operator says that programs do not do.
//!
//! A vouch lifts one reason for which a program's sockets stay on the stack: that it
//! may do what they would answer differently. What it was seen to do, and what is not
//! known of it, keeps them there all the same.

use crate::{
    reason::Reason,
    record::{pair::Side, policy::NO_SPLICE},
};

/// Bits of one end.
const BITS: u32 = 16;

/// Puts together what is vouched for of the programs of a client's and a server's end.
#[inline(always)]
#[must_use]
pub const fn put(client: u32, server: u32) -> u32 {
    client & ((1 << BITS) - 1) | server << BITS
}

/// Returns the part of one end.
#[inline(always)]
#[must_use]
pub const fn of(both: u32, side: Side) -> u32 {
    match side {
        Side::Client => both & ((1 << BITS) - 1),
        Side::Server => both >> BITS,
    }
}

/// Returns a reason, unless it is lifted by what is vouched for.
#[inline(always)]
#[must_use]
pub const fn lift(reason: Reason, assume: u32) -> Reason {
    match reason {
        Reason::MaySplice if assume & NO_SPLICE != 0 => Reason::None,
        _ => reason,
    }
}

/// Returns why a process keeps the sockets on the stack that it reads: for `reason`, or
/// because it can call splice(2) (`splices`) and nobody vouches for it.
#[inline(always)]
#[must_use]
pub const fn of_process(splices: bool, reason: Reason, assume: u32) -> Reason {
    if splices && assume & NO_SPLICE == 0 {
        Reason::MaySplice
    } else {
        reason
    }
}

/// True when a socket that leaves has to be reset: its program gets at what is queued
/// by splice(2) alone, as far as is known, and that finds nothing.
///
/// `splices` says that it was seen to splice this socket while it was enrolled, and
/// `denied` that somebody has vouched that it does not. `unread` are bytes in the
/// psock's queue.
#[inline(always)]
#[must_use]
pub const fn is_stuck(splices: bool, denied: bool, unread: bool) -> bool {
    splices && denied && unread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_own() {
        for (client, server) in [(0, 0), (NO_SPLICE, 0), (0, NO_SPLICE), (3, 0xffff)] {
            let both = put(client, server);
            assert_eq!(of(both, Side::Client), client);
            assert_eq!(of(both, Side::Server), server);
        }
    }

    /// It lifts that a program may splice, and nothing else.
    #[test]
    fn one_reason_is_lifted() {
        for reason in Reason::ALL {
            assert_eq!(lift(reason, 0), reason);
            let lifted = lift(reason, NO_SPLICE);
            if reason == Reason::MaySplice {
                assert_eq!(lifted, Reason::None);
            } else {
                assert_eq!(lifted, reason);
            }
            assert_eq!(of_process(false, reason, 0), reason);
            assert_eq!(of_process(false, reason, NO_SPLICE), reason);
            assert_eq!(of_process(true, reason, NO_SPLICE), reason);
            assert_eq!(of_process(true, reason, 0), Reason::MaySplice);
        }
    }

    #[test]
    fn only_a_connection_that_a_vouch_has_stuck_is_reset() {
        assert!(is_stuck(true, true, true));
        assert!(!is_stuck(false, true, true));
        assert!(!is_stuck(true, false, true));
        assert!(!is_stuck(true, true, false));
    }
}
