//! The leftovers of a run whose agent was killed, and how they are taken away.
//!
//! The pins of a killed agent keep its data path alive, so that enrolled
//! sockets lose nothing. Whoever comes next releases them and clears up.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use socketvirt_common::record::config::Mode;

use super::{
    config::ConfigMap,
    home::{take_away, take_away_cgroup, take_away_pins},
    spaces::Spaces,
    tiers::{TierError, Tiers},
};
use crate::{
    bpf::{error::BpfError, object},
    host::{bpffs::PinDir, cgroup::Cgroup},
    tell,
    thread::{Panicked, Thread},
};

/// The longest wait for the enrolled sockets of a dead agent.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two sweeps, at first...
const SOON: Duration = Duration::from_millis(1);
/// ...and when sockets stay in use.
const SELDOM: Duration = Duration::from_millis(50);

const SECOND: Duration = Duration::from_secs(1);

/// The sockets of a killed agent could not be released.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// One of the tiers.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The switches could not be opened.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The switches could not be set.
    #[error("writing a map of the data path failed: {0}")]
    Map(#[from] MapError),
    /// There is no thread for it.
    #[error("starting the thread that releases sockets failed: {0}")]
    Start(#[from] io::Error),
    /// The thread has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Clears what agents that are gone have left, and tells what could not be
/// cleared.
pub fn clear() {
    let mut cgroups = Cgroup::existing().unwrap_or_default();
    for pins in PinDir::existing().unwrap_or_default() {
        // That of the host is for the next agent.
        if pins.owner_alive() || pins.outlives_owner() {
            continue;
        }
        release(&pins);
        let of_it = cgroups
            .iter()
            .position(|cgroup| cgroup.name() == pins.name())
            .map(|index| cgroups.swap_remove(index));
        let cleared = match &of_it {
            Some(cgroup) => take_away(cgroup, &pins),
            None => take_away_pins(&pins),
        };
        match cleared {
            Ok(None) => {}
            Ok(Some(warning)) => tell!("{warning}"),
            Err(error) => tell!("{error}"),
        }
    }
    for cgroup in cgroups {
        if !cgroup.owner_alive()
            && let Err(error) = take_away_cgroup(&cgroup)
        {
            tell!("{error}");
        }
    }
}

/// [`drain`], telling what went wrong. Records that this build does not understand are
/// not touched: their sockets are waited for.
pub(super) fn release(pins: &PinDir) {
    if object::is_understood(pins.path())
        && let Err(error) = drain(pins.path())
    {
        tell!("{error}");
    }
}

/// Releases the sockets of a data path that has no agent, in every namespace, and
/// waits for them a moment.
///
/// # Errors
/// When a tier fails.
pub(crate) fn drain(folder: &Path) -> Result<(), DrainError> {
    drain_within(folder, PATIENCE, |_| {}).map(drop)
}

/// Releases the sockets of a data path that has no agent, in every namespace, until
/// none is enrolled, or `patience` is over. Each second it says how many are. Returns
/// the sockets of the pairs that are left.
///
/// # Errors
/// When a tier fails.
pub(crate) fn drain_within(
    folder: &Path,
    patience: Duration,
    each_second: impl Fn(usize) + Send + 'static,
) -> Result<Vec<u64>, DrainError> {
    let folder = folder.to_owned();
    // A thread, because it enters namespaces.
    Thread::start("drain", move || drain_here(&folder, patience, each_second))?.join()?
}

fn drain_here(
    folder: &Path,
    patience: Duration,
    each_second: impl Fn(usize),
) -> Result<Vec<u64>, DrainError> {
    let mut tiers = Tiers::open(folder)?;
    ConfigMap::open(folder)?.change(|config| {
        config.draining = 1;
        config.mode = Mode::Off;
    })?;
    let mut spaces = Spaces::new();
    let began = Instant::now();
    let mut told = began;
    let mut pause = SOON;
    loop {
        let enrolled = tiers.enrolled();
        if enrolled == 0 || began.elapsed() >= patience {
            return Ok(tiers.enrolled_sockets());
        }
        if told.elapsed() >= SECOND {
            told = Instant::now();
            each_second(enrolled);
        }
        tiers.look()?;
        tiers.sweep()?;
        tiers.act(&mut spaces)?;
        thread::sleep(pause);
        pause = (pause * 2).min(SELDOM);
    }
}
