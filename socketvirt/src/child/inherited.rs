//! The state that the process was started in, before Rust's runtime changed it.
//!
//! The runtime ignores SIGPIPE and opens `/dev/null` in place of closed standard
//! descriptors before `main`. A command must not see either: under systemd, where
//! SIGPIPE is ignored by default, a server that got the default back would die
//! of its first broken connection.

use std::{
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU8, Ordering},
};

use nix::libc::{self, c_int};

/// Bits 0 to 2: that descriptor was closed.
static STATE: AtomicU8 = AtomicU8::new(0);
const PIPE_IGNORED: u8 = 1 << 3;

/// The loader runs this array before the C library calls `main`.
#[used]
// SAFETY: the section takes pointers to C functions; `record` only makes
// system calls and stores an atomic, so it needs nothing of Rust's runtime.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record;

extern "C" fn record() {
    let mut state = if is_ignored(libc::SIGPIPE) {
        PIPE_IGNORED
    } else {
        0
    };
    for fd in 0..=2 {
        // SAFETY: F_GETFD takes no argument and touches no memory.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            state |= 1 << fd;
        }
    }
    STATE.store(state, Ordering::Relaxed);
}

/// True when we were started with SIGPIPE ignored.
pub(super) fn pipe_ignored() -> bool {
    STATE.load(Ordering::Relaxed) & PIPE_IGNORED != 0
}

/// The standard descriptors that were closed when we were started.
pub(super) fn closed_descriptors() -> impl Iterator<Item = c_int> {
    let state = STATE.load(Ordering::Relaxed);
    (0..=2).filter(move |fd| state & (1 << fd) != 0)
}

/// True when this process ignores `signal` now.
pub(super) fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; `action` is a valid place for the
    // answer, and all zeroes are a valid value if the kernel gives none.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
