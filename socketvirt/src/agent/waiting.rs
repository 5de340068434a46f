//! What the scanning thread does between two scans: it waits, and looks at
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

use socketvirt_common::pace::Looks;

use super::{begun::Begun, splicers::Splicers};

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

/// Waits for `pause`, or until `stop` is closed: says which.
///
/// # Errors
/// When it cannot wait, or what it finds cannot be written down.
pub fn until_stopped(
    splicers: &mut Splicers,
    all: impl Fn() -> Vec<u32>,
    looks: &mut Looks,
    pause: Duration,
    stop: &PipeReader,
) -> Result<bool, WaitError> {
    let until = Instant::now() + pause;
    let mut retry = RETRY;
    let mut rest = Instant::now();
    // The last look has left something, which a scan then looks at again.
    let mut again = splicers.is_unfinished();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let woken = ready(
            stop,
            splicers.begun(),
            if again { retry.min(left) } else { left },
        )?;
        if woken.stop {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
        if !woken.begun && !again {
            continue;
        }
        looks.rested(rest.elapsed());
        let (began, reading) = (Instant::now(), splicers.reading());
        splicers.look_at_begun(&all)?;
        // What is read once is no reason to come late the next time.
        let reading = splicers.reading().saturating_sub(reading);
        let cost = began.elapsed().saturating_sub(reading);
        again = splicers.is_unfinished();
        retry = if again && !woken.begun {
            (retry * 2).min(RETRY_MOST)
        } else {
            RETRY
        };
        rest = Instant::now();
        let pause = looks.pause(cost);
        let left = until.saturating_duration_since(rest);
        if !pause.is_zero() && ready(stop, None, pause.min(left))?.stop {
            return Ok(true);
        }
    }
}

struct Woken {
    stop: bool,
    begun: bool,
}

/// Waits for either.
fn ready(stop: &PipeReader, begun: Option<&Begun>, patience: Duration) -> io::Result<Woken> {
    let mut waits = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    if let Some(begun) = begun {
        waits.push(PollFd::new(begun.as_fd(), PollFlags::POLLIN));
    }
    match ppoll(&mut waits, Some(TimeSpec::from_duration(patience)), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |at: usize| waits.get(at).and_then(PollFd::any).unwrap_or(false);
    Ok(Woken {
        stop: is_ready(0),
        begun: is_ready(1),
    })
}
