//! What the watching thread does between two rounds: it waits, and looks at
//! programs as soon as they begin.

use std::{
    io::{self, PipeReader},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use socketvirt_common::rule::pace::Looks;

use crate::program::{begun::Begun, splicers::Splicers};

/// The niceness of the thread that looks.
const NICE: i32 = -15;

/// How soon a program whose loader is at work is looked at again, at first...
const RETRY: Duration = Duration::from_micros(100);
/// ...and when it stays so, which a stopped process does.
const RETRY_MOST: Duration = Duration::from_millis(50);

/// The wait could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// By poll(2).
    #[error("waiting for programs that begin failed: {0}")]
    Poll(#[from] io::Error),
    /// What was found could not be written down.
    #[error("writing down which programs were looked at failed: {0}")]
    Map(#[from] MapError),
}

/// Puts the calling thread ahead of others: connections are plain while a look
/// waits for a CPU. It takes little of one (`pace`).
pub fn hurry() {
    // SAFETY: takes no pointer. On Linux, 0 is the calling thread. Without the
    // right to, looks come later.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// How long to wait for the next round.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// Not shorter, whatever comes.
    pub least: Duration,
    /// Not longer; for ever without.
    pub most: Option<Duration>,
}

/// Waits for the next round: until something was noted, or `pause` is over. Looks
/// at programs as soon as they begin. Says whether `stop` was closed.
///
/// # Errors
/// When it cannot wait, or what it finds cannot be written down.
pub fn until_stopped(
    splicers: &mut Splicers,
    all: impl Fn() -> Vec<u32>,
    looks: &mut Looks,
    pause: Pause,
    stop: &PipeReader,
) -> Result<bool, WaitError> {
    let began = Instant::now();
    let left = |of: Duration| of.saturating_sub(began.elapsed());
    let mut retry = RETRY;
    let mut rest = Instant::now();
    // The last look has left something.
    let mut again = splicers.is_unfinished();
    loop {
        let most = pause.most.map(left);
        let patience = if again {
            Some(most.map_or(retry, |most| most.min(retry)))
        } else {
            most
        };
        let woken = ready(stop, Some(splicers.begun()), patience)?;
        if woken.stop {
            return Ok(true);
        }
        if woken.noted || again {
            looks.rested(rest.elapsed());
            let (looked, reading) = (Instant::now(), splicers.reading());
            splicers.look_at_begun(&all)?;
            // First reads of a file are not charged to the pace.
            let reading = splicers.reading().saturating_sub(reading);
            let cost = looked.elapsed().saturating_sub(reading);
            again = splicers.is_unfinished();
            retry = if again && !woken.noted {
                (retry * 2).min(RETRY_MOST)
            } else {
                RETRY
            };
            rest = Instant::now();
            let owed = looks.pause(cost);
            let owed = pause.most.map_or(owed, |most| owed.min(left(most)));
            if !owed.is_zero() && ready(stop, None, Some(owed))?.stop {
                return Ok(true);
            }
        }
        if woken.noted || pause.most.is_some_and(|most| left(most).is_zero()) {
            let least = left(pause.least);
            return Ok(!least.is_zero() && ready(stop, None, Some(least))?.stop);
        }
    }
}

struct Woken {
    stop: bool,
    noted: bool,
}

/// Waits for either, for ever without `patience`.
fn ready(
    stop: &PipeReader,
    begun: Option<&Begun>,
    patience: Option<Duration>,
) -> io::Result<Woken> {
    let mut waits = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    if let Some(begun) = begun {
        waits.push(PollFd::new(begun.as_fd(), PollFlags::POLLIN));
    }
    match ppoll(&mut waits, patience.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |at: usize| waits.get(at).and_then(PollFd::any).unwrap_or(false);
    Ok(Woken {
        stop: is_ready(0),
        noted: is_ready(1),
    })
}
