//! The end of the command, and ending the same way.

use std::{
    io::{self, Write},
    mem::MaybeUninit,
    os::unix::process::ExitStatusExt,
    process::{self, ExitStatus},
    ptr,
};

use nix::{
    libc::{self, c_int},
    sys::{
        prctl,
        resource::{Resource, setrlimit},
    },
};

/// The way in which a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signaled(signal),
            // Not an end at all; wait(2) without WUNTRACED never says this.
            (None, None) => Self::Exited(125),
        }
    }
}

impl Status {
    /// Ends this process the same way: a shell looks at the signal of what it ran
    /// to decide whether ^C was meant for itself too. No destructor runs: clean up
    /// before.
    pub fn finish(self) -> ! {
        match self {
            Self::Exited(code) => process::exit(code),
            Self::Signaled(signal) => {
                // Death by signal skips the flush of a regular exit; if nobody reads
                // any more there is nobody to tell.
                let _ = io::stdout().flush();
                die_of(signal);
                // Process 1 of a namespace survives it.
                process::exit(128 + signal)
            }
        }
    }
}

fn die_of(signal: c_int) {
    // The core worth having is the command's. A core_pattern that is a pipe does
    // not honour the limit, only the dumpable flag. Failing costs disk
    // space and nothing else.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let mut only = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before it is read; the default
    // action runs no handler. nix's types know no real-time signals.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, only.as_ptr(), ptr::null_mut());
        libc::raise(signal);
    }
}
