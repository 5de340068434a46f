//! Following events: what happens to sockets, as it happens.
//!
//! Programs send only while somebody follows, which a follower says once a
//! second; one that is killed is forgotten by itself. A ring that is full
//! loses events, which are counted, and never waits.

use std::{path::Path, time::Duration};

use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use socketvirt_common::{
    event::{Event, LEASE, TableStats, What},
    reason::Reason,
};

use super::{
    TableError, keeper,
    words::{Word, text},
};
use crate::{agent::datapath::DataPathError, kernel::bpffs::PinDir};

/// How long the reader sleeps when there is nothing.
pub const PAUSE: Duration = Duration::from_millis(20);

/// One event, as it is printed.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Version of this structure.
    pub schema: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// `status`, `pair`, `adopt`, `release`, `pin`.
    pub event: &'static str,
    /// The socket.
    pub id: u64,
    /// The other end, where it is known.
    pub peer: Option<u64>,
    /// The status before, of `status`.
    pub from: Option<&'static str>,
    /// The status now, of `status`.
    pub to: Option<&'static str>,
    /// Why, of `release` and `pin`.
    pub reason: Option<&'static str>,
    /// Own port.
    pub local_port: u32,
    /// Other port.
    pub remote_port: u32,
    /// Whether a scan found it, some time after it happened.
    pub scanned: bool,
    /// The process, where it is known.
    pub pid: Option<u32>,
    /// Its name.
    pub command: Option<String>,
}

impl Shown {
    fn of(event: &Event) -> Self {
        let status = event.what == What::STATUS;
        Self {
            schema: super::SCHEMA,
            at: event.at,
            event: match event.what {
                What::STATUS => "status",
                What::PAIR => "pair",
                What::ADOPT => "adopt",
                What::RELEASE => "release",
                What::PIN => "pin",
            },
            id: event.id,
            peer: (event.peer != 0).then_some(event.peer),
            from: status.then(|| event.from.word()),
            to: status.then(|| event.to.word()),
            reason: (event.reason != Reason::None).then(|| event.reason.word()),
            local_port: event.local_port,
            remote_port: event.remote_port,
            scanned: event.scanned != 0,
            pid: (event.pid != 0).then_some(event.pid),
            command: (event.pid != 0).then(|| text(&event.command)),
        }
    }

    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let seconds = Duration::from_nanos(self.at);
        let what = match (self.from, self.to) {
            (Some(from), Some(to)) if from == to => format!("{to:<12}"),
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            _ => match self.reason {
                Some(reason) => format!("{} ({reason})", self.event),
                None => self.event.to_owned(),
            },
        };
        let peer = self
            .peer
            .map_or_else(String::new, |peer| format!(" with {peer}"));
        let who = match (&self.command, self.pid) {
            (Some(command), Some(pid)) => format!(" {command}({pid})"),
            _ => String::new(),
        };
        let scanned = if self.scanned {
            " (found by a scan)"
        } else {
            ""
        };
        format!(
            "{:>12}.{:06} {:>10} :{} :{}{who} {what}{peer}{scanned}",
            seconds.as_secs(),
            seconds.subsec_micros(),
            self.id,
            self.local_port,
            self.remote_port
        )
    }
}

/// The rings that are read, of all agents at work.
#[derive(Default)]
pub struct Follower {
    rings: Vec<Ring>,
}

struct Ring {
    events: RingBuf<MapData>,
    follow: Array<MapData, u64>,
    stats: PerCpuArray<MapData, TableStats>,
    lost_before: u64,
}

fn map(attempt: &'static str) -> impl FnOnce(aya::maps::MapError) -> TableError {
    move |source| {
        TableError::DataPath(DataPathError::Map {
            attempt,
            source: Box::new(source),
        })
    }
}

impl Follower {
    /// Of all agents that run now.
    ///
    /// # Errors
    /// When a ring cannot be opened.
    pub fn of_agents() -> Result<Self, TableError> {
        let mut follower = Self::default();
        if let Some(folder) = keeper::kept() {
            follower.open(&folder)?;
        }
        for pins in PinDir::existing().unwrap_or_default() {
            if pins.owner_alive() && pins.path().join("sv_events").exists() {
                follower.open(pins.path())?;
            }
        }
        Ok(follower)
    }

    fn open(&mut self, folder: &Path) -> Result<(), TableError> {
        let pinned =
            |name: &str| MapData::from_pin(folder.join(name)).map_err(map("opening the events"));
        let ring = Ring {
            events: RingBuf::try_from(Map::RingBuf(pinned("sv_events")?))
                .map_err(map("opening sv_events"))?,
            follow: Array::try_from(Map::Array(pinned("sv_follow")?))
                .map_err(map("opening sv_follow"))?,
            stats: PerCpuArray::try_from(Map::PerCpuArray(pinned("sv_table_stats")?))
                .map_err(map("opening sv_table_stats"))?,
            lost_before: 0,
        };
        let lost_before = ring.lost()?;
        self.rings.push(Ring {
            lost_before,
            ..ring
        });
        Ok(())
    }

    /// Says that somebody follows, for the next seconds.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn renew(&mut self) -> Result<(), TableError> {
        self.follow_until(now() + LEASE)
    }

    /// Says that nobody follows any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn end(&mut self) -> Result<(), TableError> {
        self.follow_until(0)
    }

    fn follow_until(&mut self, until: u64) -> Result<(), TableError> {
        for ring in &mut self.rings {
            ring.follow
                .set(0, until, 0)
                .map_err(map("writing sv_follow"))?;
        }
        Ok(())
    }

    /// The events that are there, oldest first within one ring.
    pub fn read(&mut self) -> Vec<Shown> {
        let mut all = Vec::new();
        for ring in &mut self.rings {
            while let Some(item) = ring.events.next() {
                if item.len() >= size_of::<Event>() {
                    // SAFETY: as many bytes as an event has, written by a
                    // program of this workspace as one.
                    let event = unsafe { std::ptr::read_unaligned(item.as_ptr().cast()) };
                    all.push(Shown::of(&event));
                }
            }
        }
        all.sort_by_key(|event| event.at);
        all
    }

    /// Events lost since the rings were opened.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn lost(&self) -> Result<u64, TableError> {
        self.rings.iter().try_fold(0, |sum, ring| {
            Ok(sum + ring.lost()?.saturating_sub(ring.lost_before))
        })
    }
}

impl Ring {
    fn lost(&self) -> Result<u64, TableError> {
        let values = self
            .stats
            .get(&0, 0)
            .map_err(map("reading sv_table_stats"))?;
        Ok(values.iter().map(|one| one.events_lost).sum())
    }
}

fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(0)
    })
}
