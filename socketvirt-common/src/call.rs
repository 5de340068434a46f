//! The system call that a program is in, where a hook itself does not tell
//! what matters: the flags of a send, and whether TCP is read by splice(2).

use crate::reason::Reason;

/// The numbers of the system calls that are told apart.
///
/// Of those that send, write(2), writev(2), sendfile(2) and splice(2) have none. What `io_uring`
/// sends is not told: its program is in another call, or in none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// sendto(2), which send(2) is too: the flags are its fourth argument.
    pub sendto: u32,
    /// sendmsg(2): the third.
    pub sendmsg: u32,
    /// sendmmsg(2): the fourth.
    pub sendmmsg: u32,
    /// splice(2).
    pub splice: u32,
}

/// What a program is in.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The number of the system call.
    pub number: u32,
    /// Its third argument.
    pub third: u32,
    /// Its fourth argument.
    pub fourth: u32,
}

/// `MSG_OOB`, include/linux/socket.h.
const MSG_OOB: u32 = 0x1;
/// `MSG_MORE`, include/linux/socket.h.
const MSG_MORE: u32 = 0x8000;

/// The flags of a send; 0 when the call has none.
#[inline(always)]
#[must_use]
pub const fn flags(call: &Call, calls: &Calls) -> u32 {
    if call.number == calls.sendto || call.number == calls.sendmmsg {
        call.fourth
    } else if call.number == calls.sendmsg {
        call.third
    } else {
        0
    }
}

/// Why a message with these flags is the stack's; [`Reason::None`] for most.
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
            splice: 275,
        };
        let of = |number| {
            let call = Call {
                number,
                third: MSG_MORE,
                fourth: MSG_OOB,
            };
            needs_stack(flags(&call, &calls))
        };
        assert_eq!(of(44), Reason::Urgent);
        assert_eq!(of(307), Reason::Urgent);
        assert_eq!(of(46), Reason::More);
        // write(2), whose fourth argument is whatever was there.
        assert_eq!(of(1), Reason::None);
    }
}
