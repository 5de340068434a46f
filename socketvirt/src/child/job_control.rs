//! We stop when the command stops, and only then.
//!
//! ^Z reaches both of us, but it is the command that decides: an editor first
//! restores the screen, another program ignores it. So the stop signals are
//! blocked here, and when the command has stopped (also by SIGSTOP, or
//! alone in a process group of its own, as an interactive shell does on `suspend`)
//! we stop by the same signal. The shell that watches us sees what it would see
//! of the command. Our other threads stop with us.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
};

use nix::{
    libc,
    sys::{
        signal::{SigSet, Signal, raise},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp},
};

use super::Child;

impl Child {
    /// Stops us if the command has stopped since the last look.
    pub(super) fn follow_stop(&mut self) {
        if let Some(WaitStatus::Stopped(_, signal)) = self.look(WaitPidFlag::WSTOPPED) {
            self.stopped = true;
            let terminal = Terminal::open();
            stop_by(signal);
            if let Some(terminal) = terminal {
                terminal.restore();
            }
        }
    }

    /// True when a stop seen before still lasts. It does not look for a new
    /// one: that must be followed, not continued.
    pub(super) fn is_stopped(&mut self) -> bool {
        if let Some(WaitStatus::Continued(_)) = self.look(WaitPidFlag::WCONTINUED) {
            self.stopped = false;
        }
        self.stopped
    }

    /// Never fails for a command that is there; one that has ended does neither.
    fn look(&self, change: WaitPidFlag) -> Option<WaitStatus> {
        let pid = Pid::from_raw(self.id().try_into().ok()?);
        waitid(Id::Pid(pid), change | WaitPidFlag::WNOHANG).ok()
    }
}

/// Stops this process and returns when it is continued. In an orphaned process
/// group only SIGSTOP stops; then it returns at once.
fn stop_by(signal: Signal) {
    let only = SigSet::from(signal);
    // The stop happens as the signal is unblocked. None of the calls can fail with
    // a valid signal.
    let _ = raise(signal);
    let _ = only.thread_unblock();
    let _ = only.thread_block();
}

/// The controlling terminal, and the process group it served when we stopped.
pub(super) struct Terminal {
    device: File,
    owner: Pid,
}

impl Terminal {
    /// The one that this process may read and write, if any.
    pub(super) fn open() -> Option<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open("/dev/tty")
            .ok()?;
        let owner = tcgetpgrp(&device).ok()?;
        Some(Self { device, owner })
    }

    pub(super) fn device(&self) -> &File {
        &self.device
    }

    pub(super) fn owner(&self) -> Pid {
        self.owner
    }

    /// `fg` gives the terminal to our group. A command that had taken it for a
    /// group of its own must find it there again. Not after `bg`.
    fn restore(&self) {
        let ours = getpgrp();
        if self.owner != ours && tcgetpgrp(&self.device) == Ok(ours) {
            // It fails only when that group is gone, and then nobody misses it.
            let _ = tcsetpgrp(&self.device, self.owner);
        }
    }
}
