//! The system call that a program is in. A hook itself tells neither the flags
//! of a send or a receive nor whether TCP is read by splice(2); the call tells them.

use crate::{
    reason::Reason,
    record::layout::Calls,
    uapi::{MSG_MORE, MSG_OOB},
};

/// The kind of a call that waits for a socket's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It asks how much is unread.
    Asks,
    /// It sends.
    Sends,
    /// Any other, which may receive.
    Receives,
}

/// Returns the kind of the call of this number.
#[inline(always)]
#[must_use]
pub const fn kind(number: u32, calls: &Calls) -> Kind {
    if calls.ioctl == 0 {
        Kind::Receives
    } else if number == calls.ioctl {
        Kind::Asks
    } else if number == calls.write
        || number == calls.writev
        || number == calls.sendto
        || number == calls.sendmsg
        || number == calls.sendmmsg
    {
        Kind::Sends
    } else {
        Kind::Receives
    }
}

/// The argument of a system call that holds the flags of a send or a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// None: it has no flags.
    None,
    /// The third argument.
    Third,
    /// The fourth argument.
    Fourth,
}

/// Returns where the call of this number has the flags of a send.
#[inline(always)]
#[must_use]
pub const fn flags(number: u32, calls: &Calls) -> Flags {
    if number == calls.sendto || number == calls.sendmmsg {
        Flags::Fourth
    } else if number == calls.sendmsg {
        Flags::Third
    } else {
        Flags::None
    }
}

/// Returns where the call of this number has the flags of a receive.
#[inline(always)]
#[must_use]
pub const fn received(number: u32, calls: &Calls) -> Flags {
    if number == calls.recvfrom || number == calls.recvmmsg {
        Flags::Fourth
    } else if number == calls.recvmsg {
        Flags::Third
    } else {
        Flags::None
    }
}

/// Returns why a message with these flags is the stack's; [`Reason::None`] for
/// most.
#[inline(always)]
#[must_use]
pub const fn needs_stack(flags: u32) -> Reason {
    if flags & MSG_OOB != 0 {
        Reason::Urgent
    } else if flags & MSG_MORE != 0 {
        Reason::More
    } else {
        Reason::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of x86-64.
    const CALLS: Calls = Calls {
        sendto: 44,
        sendmsg: 46,
        sendmmsg: 307,
        recvfrom: 45,
        recvmsg: 47,
        recvmmsg: 299,
        splice: 275,
        write: 1,
        writev: 20,
        ioctl: 16,
    };

    #[test]
    fn each_call_has_them_elsewhere() {
        let calls = CALLS;
        assert_eq!(flags(44, &calls), Flags::Fourth);
        assert_eq!(flags(307, &calls), Flags::Fourth);
        assert_eq!(flags(46, &calls), Flags::Third);
        // write(2), whose fourth argument is whatever was there.
        assert_eq!(flags(1, &calls), Flags::None);
        assert_eq!(received(45, &calls), Flags::Fourth);
        assert_eq!(received(299, &calls), Flags::Fourth);
        assert_eq!(received(47, &calls), Flags::Third);
        // read(2), and one that sends.
        assert_eq!(received(0, &calls), Flags::None);
        assert_eq!(received(44, &calls), Flags::None);
    }

    #[test]
    fn what_is_not_known_may_receive() {
        assert_eq!(kind(16, &CALLS), Kind::Asks);
        for sends in [1, 20, 44, 46, 307] {
            assert_eq!(kind(sends, &CALLS), Kind::Sends);
        }
        // read(2), recvfrom(2), and one that nobody knows.
        for other in [0, 45, u32::MAX] {
            assert_eq!(kind(other, &CALLS), Kind::Receives);
        }
        assert_eq!(kind(0, &Calls::default()), Kind::Receives);
    }

    #[test]
    fn what_a_redirect_does_not_carry() {
        assert_eq!(needs_stack(0), Reason::None);
        assert_eq!(needs_stack(MSG_MORE), Reason::More);
        assert_eq!(needs_stack(MSG_OOB | MSG_MORE), Reason::Urgent);
    }
}
