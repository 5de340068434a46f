//! The duties of process 1 of a container: it reaps whoever lost its parent, and
//! passes on every signal that it is sent.
//!
//! Orphans also come to us when whoever executed us was a subreaper, or had
//! started processes before. Nobody else can reap those, and a command
//! without us would not either: none of them is its child.

use std::{mem::MaybeUninit, process, ptr};

use nix::{
    errno::Errno,
    libc::{self, c_int},
    unistd::{Pid, getpgrp, setpgid, tcsetpgrp},
};

use super::{Child, job_control::Terminal};

/// True when this process is the first of its pid namespace.
pub(super) fn is_init() -> bool {
    process::id() == 1
}

/// Puts the command of process 1 into a process group of its own, as tini(1)
/// does. What it sends to its group (`kill 0`) then does not reach us, so that
/// all that reaches us is for the command.
pub(super) struct OwnGroup {
    terminal: Option<Terminal>,
}

impl OwnGroup {
    /// For process 1 alone.
    pub(super) fn for_init() -> Option<Self> {
        is_init().then(|| Self {
            terminal: Terminal::open().filter(|terminal| terminal.owner() == getpgrp()),
        })
    }

    /// In the new process, before its program is executed. Signals must be
    /// blocked: a background process that takes the terminal gets SIGTTOU.
    pub(super) fn make(&self) -> nix::Result<()> {
        let own = Pid::from_raw(0);
        setpgid(own, own)?;
        if let Some(terminal) = &self.terminal {
            tcsetpgrp(terminal.device(), getpgrp())?;
        }
        Ok(())
    }
}

impl Child {
    /// Reaps every process that has ended, except the command.
    pub(super) fn reap_orphans(&self) {
        // nix's types know no real-time signals, by which an orphan may end.
        while let Some(pid) = ended() {
            if u32::try_from(pid) == Ok(self.id()) {
                // Whoever waits for the command goes on with the others.
                return;
            }
            // SAFETY: a status that nobody wants needs no memory.
            if unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG) } != pid {
                return;
            }
        }
    }
}

/// A child that has ended and was not reaped; it stays so.
fn ended() -> Option<c_int> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure lives during the call, and is all zeroes when there
    // is no such child, which is a valid value.
    let pid = unsafe {
        let answer = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), how);
        Errno::result(answer).ok()?;
        info.assume_init().si_pid()
    };
    (pid != 0).then_some(pid)
}
