//! Looking at the table again and again.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::snapshot::Snapshot;
use crate::{
    host::bpffs::PinDir,
    table::{
        TableError,
        agents::Agents,
        keeper,
        source::{Namespaces, Source},
        view::Table,
    },
};

/// One part in so many of one CPU is for looks.
const SHARE: u32 = 10;

/// A reader of the table.
pub struct Looker {
    source: Source,
    agents: Agents,
    /// The CPU time of the last look, and when it began.
    last: (Duration, Duration),
}

impl Looker {
    /// Loads what reads the table.
    ///
    /// # Errors
    /// When the kernel refuses, or lacks something.
    pub fn open() -> Result<Self, TableError> {
        Ok(Self {
            source: Source::open()?,
            agents: Agents::default(),
            last: (Duration::ZERO, Duration::ZERO),
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the kernel refuses a pass.
    pub fn look(&mut self) -> Result<Snapshot, TableError> {
        let (at, began) = (now(), used());
        let table = Table::read_again(&self.source, &mut self.agents, &Namespaces::All)?;
        let snapshot = Snapshot::of(&table, at);
        self.last = (used().saturating_sub(began), at);
        Ok(snapshot)
    }

    /// Returns the time to wait for the next look, of which one is wanted each `interval`:
    /// looks take a tenth of one CPU at most.
    #[must_use]
    pub fn pause(&self, interval: Duration) -> Duration {
        let (cost, began) = self.last;
        let passed = now().saturating_sub(began);
        interval
            .max(cost.saturating_mul(SHARE))
            .saturating_sub(passed)
    }
}

/// True when the maps of an agent or of a kept table are pinned.
#[must_use]
pub fn is_anything_known() -> bool {
    let pins = PinDir::existing().unwrap_or_default();
    keeper::kept().is_some() || pins.iter().any(|pins| pins.path().join("sv_flow").exists())
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Into::into)
}

fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Into::into)
}
