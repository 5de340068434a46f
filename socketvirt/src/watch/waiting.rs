//! The work of the watching thread between two rounds: it waits, and inspects
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

use socketvirt_common::rule::pace::Inspections;

use super::{pulse::Pulse, steering::Steering};
use crate::{
    datapath::tiers::{TierError, Tiers},
    program::{begun::Begun, splicers::Splicers},
};

/// The niceness of the thread that inspects.
const NICE: i32 = -15;

/// The time until a program whose loader is at work is inspected again, at first...
const RETRY: Duration = Duration::from_micros(100);
/// ...and when it stays so, which a stopped process does.
const RETRY_MOST: Duration = Duration::from_millis(50);

/// The wait could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// By poll(2).
    #[error("waiting for programs that begin failed: {0}")]
    Poll(#[from] io::Error),
    /// The pulse.
    #[error(transparent)]
    Beat(#[from] TierError),
    /// Its findings could not be written down.
    #[error("writing down which programs were inspected failed: {0}")]
    Map(#[from] MapError),
}

/// Puts the calling thread ahead of others: connections are plain while an
/// inspection waits for a CPU. It takes little of one (`pace`).
pub fn hurry() {
    // SAFETY: takes no pointer. On Linux, 0 is the calling thread. Without the
    // right to, inspections come later.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// The time to wait for the next round.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// Not shorter, whatever comes.
    pub least: Duration,
    /// Not longer; for ever without.
    pub most: Option<Duration>,
}

/// By which others reach a thread that waits.
pub struct Calls<'a> {
    /// Closed from outside, it ends the thread.
    pub stop: &'a PipeReader,
    /// A wish ends the wait; any other waking is answered, and waited on.
    pub steering: &'a Steering,
    /// Beats meanwhile, if somebody depends on it.
    pub pulse: Option<(&'a Pulse, &'a Tiers)>,
}

/// Waits for the next round: until something was noted or wished, or `pause` is
/// over. Inspects programs as soon as they begin. Returns true when the thread shall
/// end.
///
/// # Errors
/// When it cannot wait, or what it finds cannot be written down.
pub fn until_stopped(
    splicers: &mut Splicers,
    all: impl Fn() -> Vec<u32>,
    inspections: &mut Inspections,
    pause: Pause,
    calls: &Calls<'_>,
) -> Result<bool, WaitError> {
    let began = Instant::now();
    let left = |of: Duration| of.saturating_sub(began.elapsed());
    let mut retry = RETRY;
    let mut rest = Instant::now();
    // The last inspection has left something.
    let mut again = splicers.is_unfinished();
    loop {
        let most = pause.most.map(left);
        let patience = if again {
            Some(most.map_or(retry, |most| most.min(retry)))
        } else {
            most
        };
        let woken = ready(calls, Some(splicers.begun()), patience)?;
        if woken.is_called() {
            return Ok(woken.stop);
        }
        if woken.noted || again {
            inspections.rested(rest.elapsed());
            let (start, reading) = (Instant::now(), splicers.reading());
            splicers.inspect_begun(&all)?;
            // First reads of a file are not charged to the pace.
            let reading = splicers.reading().saturating_sub(reading);
            let cost = start.elapsed().saturating_sub(reading);
            again = splicers.is_unfinished();
            retry = if again && !woken.noted {
                (retry * 2).min(RETRY_MOST)
            } else {
                RETRY
            };
            rest = Instant::now();
            let owed = inspections.pause(cost);
            let owed = pause.most.map_or(owed, |most| owed.min(left(most)));
            if !owed.is_zero() {
                let woken = ready(calls, None, Some(owed))?;
                if woken.is_called() {
                    return Ok(woken.stop);
                }
            }
        }
        if woken.noted || pause.most.is_some_and(|most| left(most).is_zero()) {
            let least = left(pause.least);
            return Ok(!least.is_zero() && ready(calls, None, Some(least))?.stop);
        }
    }
}

struct Woken {
    stop: bool,
    noted: bool,
    wished: bool,
}

impl Woken {
    /// True when somebody wants something of the thread itself.
    fn is_called(&self) -> bool {
        self.stop || self.wished
    }
}

/// Waits for any of them, for ever without `patience`.
fn ready(
    calls: &Calls<'_>,
    begun: Option<&Begun>,
    patience: Option<Duration>,
) -> Result<Woken, WaitError> {
    let start = Instant::now();
    let mut waits = vec![
        PollFd::new(calls.stop.as_fd(), PollFlags::POLLIN),
        PollFd::new(calls.steering.as_fd(), PollFlags::POLLIN),
    ];
    if let Some(begun) = begun {
        waits.push(PollFd::new(begun.as_fd(), PollFlags::POLLIN));
    }
    loop {
        let left = patience.map(|patience| patience.saturating_sub(start.elapsed()));
        let next = match calls.pulse {
            Some((pulse, tiers)) => {
                pulse.beat(tiers)?;
                Some(left.map_or(pulse.due(), |left| left.min(pulse.due())))
            }
            None => left,
        };
        let ready = match ppoll(&mut waits, next.map(TimeSpec::from_duration), None) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(io::Error::from(error).into()),
        };
        // What was found before a signal came means nothing.
        let is_ready = |at: usize| ready > 0 && waits.get(at).and_then(PollFd::any) == Some(true);
        if is_ready(1) {
            calls.steering.answer();
        }
        let woken = Woken {
            stop: is_ready(0),
            noted: is_ready(2),
            wished: calls.steering.has_wish(),
        };
        let is_over = patience.is_some_and(|patience| start.elapsed() >= patience);
        if is_over || woken.noted || woken.is_called() {
            return Ok(woken);
        }
    }
}
