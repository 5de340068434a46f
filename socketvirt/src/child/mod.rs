//! The command under `exec`: run so that nobody can tell it is wrapped.
//!
//! The command keeps our process group, session, terminal, descriptors,
//! signal mask and ignored signals, and it is in its cgroup before its first
//! instruction. We stay its parent and are transparent in both directions:
//!
//! - a signal that was sent to us goes on to the command; one that the
//!   terminal sent to the whole foreground group does not, because the command
//!   has already got it (`signals`);
//! - we stop when the command stops and never by ourselves, so that a shell's
//!   job control sees the command's own decision (`job_control`);
//! - we end as the command ended ([`Status::finish`]).
//!
//! We set no parent-death signal: the command outlives us if we are killed.
//! We make ourselves no subreaper: its orphans go where they would go without us. Those
//! that come to us, above all as process 1 of a container, are reaped (`orphans`).
//! Variables that name us as who they are meant for (`LISTEN_PID`) name the command
//! (`addressed`).
//!
//! A program can still see our process between it and its parent, so the
//! service manager's main process is ours; as process 1, a group of its own; a signal that
//! `kill(2)` sends to the whole group arrives twice (see `signals`); a
//! command that moves itself to a new process group without taking the terminal
//! is a background job there, as under sudo(8).

mod addressed;
mod inherited;
mod job_control;
pub mod manager;
mod missed;
mod orphans;
mod signals;
mod spawn;
mod status;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

pub use self::{
    missed::Waiting,
    signals::{SignalError, Signals},
    spawn::SpawnError,
    status::Status,
};

/// The running command.
///
/// Dropping it neither ends nor awaits the command.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    pidfd: OwnedFd,
    signals: Signals,
    cgroup_procs: PathBuf,
    stopped: bool,
}

/// The event that ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command has ended.
    Exited(Status),
    /// The time given has passed, the command goes on.
    Timeout,
    /// Something else that was waited for has come, the command goes on.
    Other,
}

/// Waiting for the command failed.
#[derive(Debug, thiserror::Error)]
#[error("waiting for the command failed in {call}: {source}; the command itself goes on")]
pub struct WaitError {
    call: &'static str,
    source: io::Error,
}

impl WaitError {
    fn new(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self {
            call,
            source: source.into(),
        }
    }
}

impl Child {
    /// The command's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the command ends or `timeout` has passed, and passes
    /// signals and stops on meanwhile. Without a timeout it waits for the end.
    ///
    /// Signals are passed on only inside this call: a caller with work of its
    /// own does it in short pieces between calls, or in another thread.
    ///
    /// # Errors
    /// If the kernel refuses to poll or to read the signals.
    pub fn wait_event(&mut self, timeout: Option<Duration>) -> Result<Event, WaitError> {
        self.wait_beside(timeout, &[])
    }

    /// [`Child::wait_event`], which also ends when one of `others` can be read.
    ///
    /// # Errors
    /// As [`Child::wait_event`].
    pub fn wait_beside(
        &mut self,
        timeout: Option<Duration>,
        others: &[BorrowedFd<'_>],
    ) -> Result<Event, WaitError> {
        // A time too far away to be represented never comes.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let (ended, signalled, other) = self.poll(left, others)?;
            if signalled {
                self.pass_signals_on(Waiting::default())
                    .map_err(|errno| WaitError::new("read(signalfd)", errno))?;
            }
            if ended {
                let status = self
                    .process
                    .wait()
                    .map_err(|error| WaitError::new("wait", error))?;
                return Ok(Event::Exited(status.into()));
            }
            if other {
                return Ok(Event::Other);
            }
            if left == Some(Duration::ZERO) {
                return Ok(Event::Timeout);
            }
        }
    }

    /// Tells whether the command has ended, whether signals are waiting, and
    /// whether one of the others is ready.
    fn poll(
        &self,
        timeout: Option<Duration>,
        others: &[BorrowedFd<'_>],
    ) -> Result<(bool, bool, bool), WaitError> {
        let mut fds = vec![self.pidfd.as_fd(), self.signals.as_fd()];
        fds.extend(others);
        let mut fds: Vec<_> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) => Ok((
                is_ready(&fds[0]),
                is_ready(&fds[1]),
                fds[2..].iter().any(is_ready),
            )),
            // A stop and its continuation interrupt poll.
            Err(Errno::EINTR) => Ok((false, false, false)),
            Err(errno) => Err(WaitError::new("ppoll", errno)),
        }
    }
}

#[cfg(test)]
mod tests;
