//! The terminal's signals that the command has missed: they came before the fork, to us
//! alone. What comes later reaches it as a member of our group.
//!
//! The new process looks itself: it sees what waits for us, and nothing of it waits for
//! it (fork(2)). When we look, it may be at work already, and have been told.

use std::{ffi::CString, process};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{
        eventfd::{EfdFlags, EventFd},
        stat::Mode,
    },
    unistd::read,
};

/// Every signal: what an eventfd holds at most.
const ALL: u64 = u64::MAX - 1;

/// Signals as bits, the first for signal 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting(u64);

impl Waiting {
    /// True when the signal with this number is among them.
    #[must_use]
    pub fn has(self, signal: i32) -> bool {
        (1..=64).contains(&signal) && self.0 >> (signal - 1) & 1 != 0
    }
}

/// Tells of them from the new process to us.
pub struct Missed {
    told: EventFd,
    status: CString,
}

impl Missed {
    pub fn new() -> Result<Self, Errno> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            told: EventFd::from_value_and_flags(0, flags)?,
            status: CString::new(format!("/proc/{}/status", process::id()))
                .map_err(|_| Errno::EINVAL)?,
        })
    }

    /// Looks, in the new process. Calls nothing but read(2) and the like.
    ///
    /// Where `/proc` does not tell, all count as missed: a second ^C is better than none.
    pub fn look(&self) {
        let mut text = [0; 4096];
        let shown = open(
            self.status.as_c_str(),
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .and_then(|file| read(&file, &mut text));
        let waiting = shown.ok().and_then(|length| waiting(&text[..length]));
        let waiting = waiting.unwrap_or(ALL).min(ALL);
        if waiting != 0 {
            let _ = self.told.write(waiting);
        }
    }

    /// Returns what the new process has seen.
    pub fn seen(&self) -> Waiting {
        Waiting(self.told.read().unwrap_or(0))
    }
}

/// Reads the signals that wait for a whole process (`proc_pid_status(5)`).
fn waiting(status: &[u8]) -> Option<u64> {
    const FIELD: &[u8] = b"\nShdPnd:\t";
    let at = status.windows(FIELD.len()).position(|part| part == FIELD)? + FIELD.len();
    status.get(at..at + 16)?.iter().try_fold(0, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(sum << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn signals_that_wait_for_a_process_are_read() {
        let status =
            b"Name:\tx\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000006\nSigBlk:\t0\n";
        let seen = Waiting(waiting(status).unwrap());
        assert!(seen.has(libc::SIGINT) && seen.has(libc::SIGQUIT));
        assert!(!seen.has(libc::SIGHUP) && !seen.has(0) && !seen.has(65));
        for none in [
            &b"Name:\tx\n"[..],
            b"\nShdPnd:\t12",
            b"\nShdPnd:\t000000000000000x",
        ] {
            assert_eq!(waiting(none), None);
        }
    }

    #[test]
    fn nothing_waits_for_a_process_that_nobody_has_told_anything() {
        let missed = Missed::new().unwrap();
        missed.look();
        assert_eq!(missed.seen(), Waiting::default());
    }
}
