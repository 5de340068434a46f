//! What a run leaves when its agent is killed, and how it is taken away.
//!
//! The pins of a killed agent keep its data path alive, so that enrolled
//! sockets lose nothing. Whoever comes next releases them and clears up.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData, MapError};
use socketvirt_common::record::config::{Config, Mode};

use super::{
    home::{self, take_away, take_away_cgroup, take_away_pins},
    spaces::Spaces,
    tiers::{TierError, Tiers},
};
use crate::{
    bpf::object,
    host::{bpffs::PinDir, cgroup::Cgroup},
};

/// How long enrolled sockets of a dead agent are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sockets of a killed agent could not be released.
#[derive(Debug, thiserror::Error)]
enum DrainError {
    /// One of the tiers.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The switches could not be set.
    #[error("writing a map of the data path failed: {0}")]
    Map(#[from] MapError),
    /// The thread has panicked.
    #[error("the watching thread {0}")]
    Thread(&'static str),
}

/// Clears what agents that are gone have left; returns what could not be
/// cleared, in words for the operator.
#[must_use]
pub fn clear() -> Vec<String> {
    let mut warnings = Vec::new();
    let mut cgroups = Cgroup::existing().unwrap_or_default();
    for pins in PinDir::existing().unwrap_or_default() {
        if pins.owner_alive() {
            continue;
        }
        // The records of another build are not touched: its sockets are waited for.
        if object::is_ours(pins.path())
            && let Err(error) = drain(pins.path())
        {
            warnings.push(error.to_string());
        }
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
            Ok(Some(warning)) => warnings.push(warning),
            Err(error) => warnings.push(error.to_string()),
        }
    }
    for cgroup in cgroups {
        if !cgroup.owner_alive()
            && let Err(error) = take_away_cgroup(&cgroup)
        {
            warnings.push(error.to_string());
        }
    }
    warnings
}

/// Releases the sockets of a data path that has no agent, in every namespace.
fn drain(folder: &Path) -> Result<(), DrainError> {
    // A thread, because it enters namespaces.
    thread::scope(|scope| {
        scope
            .spawn(|| drain_here(folder))
            .join()
            .map_err(|_| DrainError::Thread("has panicked"))?
    })
}

fn drain_here(folder: &Path) -> Result<(), DrainError> {
    let mut tiers = Tiers::open(folder)?;
    let map = MapData::from_pin(folder.join(home::CONFIG))?;
    let mut map: Array<_, Config> = Map::Array(map).try_into()?;
    let mut config = map.get(&0, 0)?;
    config.draining = 1;
    config.mode = Mode::Off;
    map.set(0, config, 0)?;
    let mut spaces = Spaces::new();
    let deadline = Instant::now() + PATIENCE;
    while tiers.enrolled() > 0 && Instant::now() < deadline {
        tiers.look()?;
        tiers.sweep()?;
        tiers.act(&mut spaces)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
