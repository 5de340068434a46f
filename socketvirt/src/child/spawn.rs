//! Starting the command in its cgroup, with what we ourselves were started with.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::{
    errno::Errno,
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::write,
};

use super::{
    Child, Signals, Status, addressed::Environment, inherited, missed::Missed, orphans::OwnGroup,
};

/// std passes the new process's error on as one number; this mark says that it was
/// joining the cgroup that failed, and not exec.
const JOINING: i32 = 1 << 16;

/// The command could not be started. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such program.
    #[error("cannot run {command:?}: {source}; check its name and PATH")]
    NotFound {
        /// As the user named it.
        command: OsString,
        /// The kernel's answer to exec.
        source: io::Error,
    },
    /// The program is there but cannot be run.
    #[error("cannot run {command:?}: {source}; check that it is a program and may be executed")]
    NotExecutable {
        /// As the user named it.
        command: OsString,
        /// The kernel's answer to exec, or to fork.
        source: io::Error,
    },
    /// The cgroup did not take the new process.
    #[error(
        "cannot put the command into its cgroup by {path:?}: {source}; is this cgroup v2, and writable?"
    )]
    Cgroup {
        /// The cgroup's `cgroup.procs`.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The running command could not be watched, and was ended again.
    #[error("cannot watch the command with {call}: {source}; Linux 5.3 or later is needed")]
    Watch {
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A signal arrived before the command was started.
    #[error("interrupted before the command was started")]
    Interrupted(Status),
}

impl SpawnError {
    /// The status to end this process with, as env(1), nice(1) and timeout(1) do.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotFound { .. } => Status::Exited(127),
            Self::NotExecutable { .. } => Status::Exited(126),
            Self::Cgroup { .. } | Self::Watch { .. } => Status::Exited(125),
            Self::Interrupted(status) => *status,
        }
    }
}

impl Child {
    /// Starts `command` in the cgroup whose `cgroup.procs` is given. It is in there
    /// before its program is executed, so none of its sockets is missed.
    ///
    /// `signals` must have been blocked before any other thread was started.
    ///
    /// # Errors
    /// If there is no such program, the cgroup refuses it, or a signal has
    /// arrived that ends this process; see [`SpawnError::status`].
    pub fn spawn<S: AsRef<OsStr>>(
        signals: Signals,
        command: &OsStr,
        args: impl IntoIterator<Item = S>,
        cgroup_procs: &Path,
    ) -> Result<Self, SpawnError> {
        let cgroup_error = |source| SpawnError::Cgroup {
            path: cgroup_procs.into(),
            source,
        };
        let watch_error = |call| {
            move |errno: Errno| SpawnError::Watch {
                call,
                source: errno.into(),
            }
        };
        let procs = OpenOptions::new()
            .write(true)
            .open(cgroup_procs)
            .map_err(cgroup_error)?;

        let mut start = Command::new(command);
        start.args(args);
        let (mask, on_child) = (signals.mask, signals.on_child);
        let own_group = OwnGroup::for_init();
        let mut environment = Environment::addressed();
        let missed = Arc::new(Missed::new().map_err(watch_error("eventfd"))?);
        let looks = Arc::clone(&missed);
        let prepare = move || {
            looks.look();
            // "0" is the writer itself.
            write(&procs, b"0")
                .map_err(|errno| io::Error::from_raw_os_error(JOINING | errno as i32))?;
            if let Some(group) = &own_group {
                group.make()?;
            }
            if let Some(environment) = &mut environment {
                environment.take_effect();
            }
            restore(&mask, &on_child).map_err(io::Error::from)
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed.
        // `prepare` makes system calls on values computed before, and its errors
        // are plain numbers that allocate nothing.
        unsafe { start.pre_exec(prepare) };

        if let Some(status) = signals
            .interruption()
            .map_err(watch_error("read(signalfd)"))?
        {
            return Err(SpawnError::Interrupted(status));
        }
        let mut process = start
            .spawn()
            .map_err(|source| match source.raw_os_error() {
                Some(code) if code & JOINING != 0 => {
                    cgroup_error(io::Error::from_raw_os_error(code & !JOINING))
                }
                Some(libc::ENOENT) => SpawnError::NotFound {
                    command: command.into(),
                    source,
                },
                _ => SpawnError::NotExecutable {
                    command: command.into(),
                    source,
                },
            })?;

        let pidfd = match open_pidfd(process.id()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // Neither can fail in a way that leaves the command running: it is
                // our child and not reaped.
                let _ = process.kill();
                let _ = process.wait();
                return Err(watch_error("pidfd_open")(errno));
            }
        };
        let mut child = Self {
            process,
            pidfd,
            signals,
            cgroup_procs: cgroup_procs.into(),
            stopped: false,
        };
        // Signals still unread after a failure are passed on by the first wait.
        let _ = child.pass_signals_on(missed.seen());
        // Those that ended before signals were collected.
        child.reap_orphans();
        Ok(child)
    }
}

/// Gives the new process what we were started with. The mask comes last:
/// from then on signals act.
fn restore(mask: &SigSet, on_child: &SigAction) -> nix::Result<()> {
    for fd in inherited::closed_descriptors() {
        nix::unistd::close(fd)?;
    }
    if inherited::pipe_ignored() {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: ignoring runs no handler.
        unsafe { sigaction(Signal::SIGPIPE, &ignore) }?;
    }
    // SAFETY: an inherited disposition is default or ignore, exec leaves no other.
    unsafe { sigaction(Signal::SIGCHLD, on_child) }?;
    mask.thread_set_mask()
}

fn open_pidfd(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two numbers; sets close-on-exec by itself.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
