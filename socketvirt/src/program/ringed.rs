//! Processes that have rings: which of them are harmless.
//!
//! One that has used its rings for files only is, as long as what it submits is
//! watched: the kernel side then tells when it does networking by one.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use socketvirt_common::record::reader::Rings;

use super::rings::{self, Shown};

/// The time until a ring that was not used is asked again, at first...
const UNUSED: Duration = Duration::from_secs(1);
/// ...and when it stays so.
const UNUSED_MOST: Duration = Duration::from_secs(64);

/// The state of the trace point of what is submitted to rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submissions {
    /// It can be attached.
    Unwatched,
    /// Everything is seen.
    Watched,
    /// This kernel does not have it, or refuses it.
    Never,
}

/// What the rings of a process say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has none.
    None,
    /// It is harmless as long as what it submits is watched.
    Watched,
    /// It cannot be judged yet.
    Wait,
    /// Its sockets stay on the stack.
    Kept,
    /// So do those of its next process.
    Networks,
}

/// Judges processes by their rings.
pub struct Judge {
    map: BpfHashMap<MapData, u64, Rings>,
    submissions: Option<Submissions>,
    /// A process is harmless if what it submits is watched.
    wanted: bool,
    /// Processes with a ring that was not used: when they are asked again, and the
    /// time from then to the next.
    unused: HashMap<u64, (Instant, Duration)>,
}

impl Judge {
    /// Knows of what the kernel side enters into `map`.
    #[must_use]
    pub fn new(map: BpfHashMap<MapData, u64, Rings>) -> Self {
        Self {
            map,
            submissions: None,
            wanted: false,
            unused: HashMap::new(),
        }
    }

    /// True when a process waits until submissions are watched.
    #[must_use]
    pub fn wants_submissions(&self) -> bool {
        self.wanted
    }

    /// Takes note of whether submissions are watched. Returns true when this has
    /// changed.
    pub fn changes(&mut self, now: Submissions) -> bool {
        if now != Submissions::Unwatched {
            self.wanted = false;
        }
        self.submissions.replace(now) != Some(now)
    }

    /// Returns what the kernel side has seen of the rings of a process.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn seen(&self, name: u64) -> Result<Rings, MapError> {
        match self.map.get(&name, 0) {
            Err(MapError::KeyNotFound) => Ok(Rings::default()),
            rings => rings,
        }
    }

    /// Judges a process, of whose rings the kernel side has `seen` this.
    ///
    /// # Errors
    /// When it has ended, or may not be inspected.
    pub fn judge(&mut self, name: u64, pid: u32, seen: &Rings) -> io::Result<Verdict> {
        if seen.network != 0 {
            return Ok(Verdict::Networks);
        }
        if seen.hidden != 0 {
            return Ok(Verdict::Kept);
        }
        Ok(match (rings::of(pid, seen.made)?, self.submissions) {
            (Shown::None, _) => Verdict::None,
            (Shown::Busy, _) => Verdict::Wait,
            (Shown::Network, _) => Verdict::Networks,
            (Shown::Hidden, _) | (_, Some(Submissions::Never)) => Verdict::Kept,
            (Shown::Unused, _) => {
                let first = (Instant::now() + UNUSED, UNUSED);
                self.unused.entry(name).or_insert(first);
                Verdict::Kept
            }
            (Shown::Files, Some(Submissions::Watched)) => Verdict::Watched,
            (Shown::Files, _) => {
                self.wanted = true;
                Verdict::Wait
            }
        })
    }

    /// Returns the processes whose rings were not used when they were asked last, as
    /// far as it is time to ask them again.
    pub fn due(&mut self) -> Vec<u64> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (name, (at, pause)) in &mut self.unused {
            if *at <= now {
                due.push(*name);
                *pause = (*pause * 2).min(UNUSED_MOST);
                *at = now + *pause;
            }
        }
        due
    }

    /// True when the rings of a process that is `due` were used by now. It is not
    /// asked again then, nor when it has ended.
    pub fn is_used(&mut self, name: u64, pid: u32) -> bool {
        let made = self.seen(name).map_or(0, |seen| seen.made);
        let shown = rings::of(pid, made);
        if matches!(shown, Ok(Shown::Unused | Shown::Busy)) {
            return false;
        }
        self.forget(name);
        shown.is_ok()
    }

    /// Does not ask a process again.
    pub fn forget(&mut self, name: u64) {
        self.unused.remove(&name);
    }
}
