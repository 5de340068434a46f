//! What a run leaves when its agent is killed, and how it is taken away.
//!
//! The pins of a killed agent keep its data path alive, so that enrolled
//! sockets lose nothing. Whoever comes next releases them and clears up.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use socketvirt_common::config::{Config, Mode};

use aya::maps::{Array, Map, MapData};

use super::home;
use crate::{
    bpf::object,
    host::{bpffs::PinDir, cgroup::Cgroup},
    session::run::RunError,
    watch::{
        spaces::Spaces,
        tiers::{Tiers, enrolled},
        watcher::WatchError,
    },
};

/// How long enrolled sockets of a dead agent are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Takes a run's cgroup and pins away. Its processes move to the parent
/// cgroup and go on. Sockets that could not be released keep both.
///
/// # Errors
/// When the kernel refuses.
pub fn take_away(cgroup: &Cgroup, pins: &PinDir) -> Result<Option<String>, RunError> {
    let warning = take_away_pins(pins)?;
    // With the cgroup goes the program that lets sockets leave when they are
    // shut down; without it a blocking reader gets `EAGAIN` for the end of
    // file.
    if warning.is_none() {
        take_away_cgroup(cgroup)?;
    }
    Ok(warning)
}

fn take_away_pins(pins: &PinDir) -> Result<Option<String>, RunError> {
    let left = enrolled(&pins.path().join(home::FAST));
    if left == 0 {
        pins.remove()?;
        return Ok(None);
    }
    Ok(Some(format!(
        "{left} sockets are in use and stay in {}; the next start clears it once they are closed",
        pins.path().display()
    )))
}

fn take_away_cgroup(cgroup: &Cgroup) -> Result<(), RunError> {
    cgroup.move_all_to(&cgroup.parent()?)?;
    cgroup.remove()?;
    Ok(())
}

/// Releases the sockets of a data path that has no agent, in every namespace.
fn drain(folder: &Path) -> Result<(), WatchError> {
    // A thread, because it enters namespaces.
    thread::scope(|scope| {
        scope
            .spawn(|| drain_here(folder))
            .join()
            .map_err(|_| WatchError::Thread("has panicked"))?
    })
}

fn drain_here(folder: &Path) -> Result<(), WatchError> {
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
