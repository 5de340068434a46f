//! The signals that end a command that works until it is told to stop.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::SignalFd,
        time::TimeSpec,
    },
};

/// SIGINT and SIGTERM, to be read instead of ending the process. To be called
/// before any thread is started: one that has them not blocked would be ended.
pub fn signals() -> Result<SignalFd> {
    taken(&[Signal::SIGINT, Signal::SIGTERM])
}

/// [`signals`], and those of a daemon: SIGHUP asks it to read its configuration again,
/// SIGUSR2 to make room for another at once.
pub fn signals_of_daemon() -> Result<SignalFd> {
    let all = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR2,
    ];
    taken(&all)
}

/// [`signals`], and those of a terminal: SIGHUP when it goes, SIGWINCH when its size
/// changes.
pub fn signals_of_screen() -> Result<SignalFd> {
    let all = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGWINCH,
    ];
    taken(&all)
}

fn taken(signals: &[Signal]) -> Result<SignalFd> {
    let signals: SigSet = signals.iter().copied().collect();
    signals.thread_block().context("blocking signals failed")?;
    SignalFd::new(&signals).context("making a signal descriptor failed")
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This signal has come.
    Signal(Signal),
    /// One of the threads has ended.
    Ended,
    /// Neither, in time.
    Late,
}

/// Waits for the next signal or the end of a thread, for no longer than `patience`.
pub fn next(
    signals: &SignalFd,
    threads: &[BorrowedFd<'_>],
    patience: Option<Duration>,
) -> Result<Next> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    fds.extend(threads.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match ppoll(&mut fds, left.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => continue,
            Ok(0) => return Ok(Next::Late),
            polled => polled.context("waiting for a signal failed")?,
        };
        if fds[0].any() != Some(true) {
            return Ok(Next::Ended);
        }
        let read = signals.read_signal().context("reading a signal failed")?;
        let number = read.and_then(|info| i32::try_from(info.ssi_signo).ok());
        if let Some(signal) = number.and_then(|number| Signal::try_from(number).ok()) {
            return Ok(Next::Signal(signal));
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;
    use crate::thread::Thread;

    #[test]
    fn a_thread_that_ends_is_noticed_beside_signals() {
        // In a thread, because signals stay blocked in it.
        let work = || {
            let signals = taken(&[Signal::SIGUSR1]).unwrap();
            let failing = Thread::<()>::start("test", || panic!("on purpose")).unwrap();
            assert_eq!(next(&signals, &[failing.end()], None).unwrap(), Next::Ended);
            raise(Signal::SIGUSR1).unwrap();
            assert_eq!(
                next(&signals, &[], None).unwrap(),
                Next::Signal(Signal::SIGUSR1)
            );
            let late = next(&signals, &[], Some(Duration::from_millis(1)));
            assert_eq!(late.unwrap(), Next::Late);
        };
        std::thread::spawn(work).join().unwrap();
    }
}
