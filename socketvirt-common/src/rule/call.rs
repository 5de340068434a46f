//! The system call that a program is in. A hook itself tells neither the flags
//! of a send or a receive nor whether TCP is read by splice(2); the call tells them.

use crate::{
    reason::Reason,
    record::layout::Calls,
    uapi::{MSG_MORE, MSG_OOB},
};

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

    #[test]
    fn each_call_has_them_elsewhere() {
        let calls = Calls {
            sendto: 44,
            sendmsg: 46,
            sendmmsg: 307,
            recvfrom: 45,
            recvmsg: 47,
            recvmmsg: 299,
            splice: 275,
            reserved: 0,
        };
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
    fn what_a_redirect_does_not_carry() {
        assert_eq!(needs_stack(0), Reason::None);
        assert_eq!(needs_stack(MSG_MORE), Reason::More);
        assert_eq!(needs_stack(MSG_OOB | MSG_MORE), Reason::Urgent);
    }
}
