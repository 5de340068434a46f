//! Habits: what programs have shown that keeps their sockets off the fast path.
//! They are remembered, so that the next sockets of these programs are not
//! enrolled.
//!
//! A call that an enrolled socket answers differently is seen only when it is
//! made, and a socket cannot leave in the middle of it. So at most the first
//! connection of a program is hit.

use crate::{
    reason::Reason,
    uapi::{MSG_DONTWAIT, MSG_OOB, MSG_TRUNC, MSG_WAITALL},
};

/// True when a reason says something of the program: it will do the same to its
/// next sockets. Other reasons are about the moment, or about one connection.
///
/// Only an adopted socket can form the habit of blocking mode: it was in the
/// other mode before.
#[inline(always)]
#[must_use]
pub const fn is_habit(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Blocking
            | Reason::Rcvlowat
            | Reason::ZeroCopy
            | Reason::Timestamp
            | Reason::Ulp
            | Reason::Urgent
            | Reason::PeekOffset
            | Reason::Inq
            | Reason::Splice
            | Reason::SignalDriven
            | Reason::WaitAll
            | Reason::ClosedUnread
            | Reason::Discards
            | Reason::Filtered
            | Reason::Paced
            | Reason::Mapped
    )
}

/// Returns the habit that the flags of a receive call on a TCP socket show;
/// [`Reason::None`] for most.
///
/// A file in non-blocking mode adds `MSG_DONTWAIT` (`__sys_recvfrom` in
/// net/socket.c), with which `MSG_WAITALL` means nothing.
#[inline(always)]
#[must_use]
pub const fn of_receive(flags: u32) -> Reason {
    if flags & MSG_OOB != 0 {
        Reason::Urgent
    } else if flags & MSG_TRUNC != 0 {
        Reason::Discards
    } else if flags & (MSG_WAITALL | MSG_DONTWAIT) == MSG_WAITALL {
        Reason::WaitAll
    } else {
        Reason::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_receive() {
        assert_eq!(of_receive(0), Reason::None);
        assert_eq!(of_receive(MSG_DONTWAIT), Reason::None);
        assert_eq!(of_receive(MSG_WAITALL), Reason::WaitAll);
        assert_eq!(of_receive(MSG_WAITALL | MSG_DONTWAIT), Reason::None);
        assert_eq!(of_receive(MSG_OOB | MSG_DONTWAIT), Reason::Urgent);
        assert_eq!(of_receive(MSG_TRUNC | MSG_DONTWAIT), Reason::Discards);
    }

    /// A reason that passes by itself, or is true of one connection only, says
    /// nothing of the next.
    #[test]
    fn the_moment_is_no_habit() {
        for reason in [
            Reason::None,
            Reason::PeerNotHere,
            Reason::Bulk,
            Reason::Unread,
            Reason::ReaderAsleep,
            Reason::Closing,
            Reason::QueueFull,
            Reason::MapFull,
            Reason::IdTaken,
        ] {
            assert!(!is_habit(reason), "{reason:?}");
        }
    }
}
