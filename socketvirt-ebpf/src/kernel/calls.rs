//! The calls of its program that have begun on a socket: those that wait for its lock,
//! which a visit holds, and those that sleep until something comes.

use socketvirt_common::rule::{begun::Waiting, call::Kind};

use super::{
    load::{layout, offset, read},
    sock::Sock,
    task,
};

/// Waiters of a socket that are looked at. With more, one is assumed to be a
/// sleeping reader, and to wait for the lock in order to receive.
pub const MAX_WAITERS: u32 = 8;

impl Sock {
    /// True when a call of the program has begun.
    ///
    /// Such a call waits for the socket's lock, or holds the file, as each call
    /// of a program with several threads does (`fdget`, fs/file.c). In a
    /// program with a single thread, the way from the choice between receive
    /// functions to the lock is not seen. Each descriptor of the file beyond the
    /// first counts as well.
    #[inline(always)]
    pub fn in_call(self) -> bool {
        self.calls() != 0 || self.lock_is_awaited()
    }

    /// Returns the number of calls that hold the socket's file, and of descriptors beyond
    /// the first.
    #[inline(always)]
    pub fn calls(self) -> u64 {
        let refs: u64 = read(self.file(), offset!(file_refs));
        refs.wrapping_sub(layout!(file_refs_one))
    }

    /// True when a call waits for the socket's lock, which a visit holds.
    #[inline(always)]
    fn lock_is_awaited(self) -> bool {
        let head = self.lock_waiters();
        read::<u64>(head, 0) != head
    }

    #[inline(always)]
    fn lock_waiters(self) -> u64 {
        self.0 + u64::from(offset!(sk_lock_waiters))
    }

    /// Counts the calls that wait for the socket's lock, by their kind.
    #[inline(always)]
    pub fn waiting(self) -> Waiting {
        let packed = sv_at_lock(self.0);
        Waiting {
            asking: packed & 0xff,
            sending: packed >> 8 & 0xff,
            receiving: packed >> 16 & 0xff,
        }
    }

    /// Returns how many calls sleep on the socket: waiters other than epoll,
    /// poll and select. It is above [`MAX_WAITERS`] when there are too many to
    /// look at.
    #[inline(always)]
    pub fn sleepers(self) -> u32 {
        let wq: u64 = read(self.0, offset!(sk_wq));
        if wq == 0 {
            return 0;
        }
        let mut sleepers = 0;
        let head = wq + u64::from(offset!(wq_head));
        let mut entry: u64 = read(head, 0);
        for _ in 0..MAX_WAITERS {
            if entry == head || entry == 0 {
                return sleepers;
            }
            let waiter = entry - u64::from(offset!(wait_entry));
            let func: u64 = read(waiter, offset!(wait_func));
            if func == 0 || (func != layout!(ep_poll_callback) && func != layout!(pollwake)) {
                sleepers += 1;
            }
            entry = read(entry, 0);
        }
        MAX_WAITERS + 1
    }
}

/// Counts the calls that wait for the lock of the socket at this address: in the lowest
/// byte those that ask, then those that send, then any others.
///
/// Each waits in `__lock_sock` (net/core/sock.c) until the visit is over, so its task
/// stays in it. The verifier looks at this function once, and not at each use.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_at_lock(sock: u64) -> u32 {
    let tasks = task::Tasks::here();
    let head = Sock(sock).lock_waiters();
    let mut entry: u64 = read(head, 0);
    let mut packed = 0;
    for _ in 0..MAX_WAITERS {
        if entry == head || entry == 0 {
            return packed;
        }
        let waiter = entry - u64::from(offset!(wait_entry));
        packed += match tasks.kind_of_call(read(waiter, offset!(wait_private))) {
            None => 0,
            Some(Kind::Asks) => 1,
            Some(Kind::Sends) => 1 << 8,
            Some(Kind::Receives) => 1 << 16,
        };
        entry = read(entry, 0);
    }
    packed + (1 << 16)
}
