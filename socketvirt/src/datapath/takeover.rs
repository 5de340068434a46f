//! Taking over the data path of an agent that is gone.
//!
//! The home of a host has one name, and outlives the agent. Who has locked its folder
//! is its agent: the kernel drops the lock of one that ends, in whatever way.

use std::{fmt, path::Path};

use socketvirt_common::record::config::ReceiveMode;

use super::{
    config::ConfigMap,
    home::{self, HomeError, take_away_pins},
    leftovers,
};
use crate::{
    bpf::object,
    host::bpffs::{PinDir, PinError},
    tell,
};

/// What is pinned of each complete data path, beside the maps that all of it needs.
const PINNED: [&str; 9] = [
    home::SOCK_OPS_LINK,
    home::EXEC_LINK,
    home::MOVED_LINK,
    home::ACT_LINK,
    home::DISCOVER_LINK,
    home::HOLDERS_LINK,
    home::WATCH,
    home::SOCK_OPS,
    home::RECEIVE,
];

/// A data path that can be taken over.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is of this build, as it is.
    Ours(PinDir),
    /// It is of another build, whose records this one understands.
    OfAnother(PinDir),
}

/// Why a data path is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// Its records are not those of this agent.
    Records,
    /// It accelerates the connections of others.
    Scope,
    /// It accelerates nothing, or not all of it is there.
    Incomplete,
}

impl fmt::Display for Unfit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Records => "is of a build with other records",
            Self::Scope => "is of another cgroup",
            Self::Incomplete => "is not complete",
        })
    }
}

/// Finds the data path of the host, for the connections of this cgroup, and locks it.
/// One that does not fit is [given up](give_up).
///
/// # Errors
/// When another agent has it, or the kernel refuses.
pub(crate) fn find(cgroup: u64) -> Result<Option<Found>, HomeError> {
    let Some(pins) = of_host()? else {
        return Ok(None);
    };
    match judge(pins.path(), cgroup) {
        Some(unfit) => give_up(pins, &unfit).map(|()| None),
        None if object::is_ours(pins.path()) => Ok(Some(Found::Ours(pins))),
        None => Ok(Some(Found::OfAnother(pins))),
    }
}

/// Releases the sockets of a data path, as far as its records are understood, and takes
/// it away. With sockets that cannot be released it is set aside, for a later start to
/// clear.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn give_up(mut pins: PinDir, why: &impl fmt::Display) -> Result<(), HomeError> {
    tell!("the data path of the agent before {why}: releasing its sockets, then starting anew");
    leftovers::release(&pins);
    if let Some(warning) = take_away_pins(&pins)? {
        pins.set_aside()?;
        tell!("{warning}");
    }
    Ok(())
}

/// Finds the data path of the host, whosever it was, and locks it.
///
/// # Errors
/// When an agent has it, or the kernel refuses.
pub fn of_host() -> Result<Option<PinDir>, PinError> {
    let mut found = None;
    for mut pins in PinDir::existing()? {
        if !pins.outlives_owner() {
            continue;
        }
        pins.lock()?;
        if pins.is_complete() {
            found = Some(pins);
        } else {
            // Of a start that was killed: only its self-test was ever enrolled.
            pins.remove()?;
        }
    }
    Ok(found)
}

fn judge(folder: &Path, cgroup: u64) -> Option<Unfit> {
    if !object::is_understood(folder) {
        return Some(Unfit::Records);
    }
    let Ok(config) = ConfigMap::open(folder).map(|config| config.get()) else {
        return Some(Unfit::Incomplete);
    };
    let is_there = |name: &str| folder.join(name).exists();
    // The link of calls comes and goes, and its program stays.
    let splice = [home::SPLICE_LINK, home::READ]
        .iter()
        .any(|name| is_there(name));
    let complete = splice && PINNED.iter().all(|name| is_there(name));
    if config.receive_mode == ReceiveMode::TableOnly || !complete {
        return Some(Unfit::Incomplete);
    }
    (config.cgroup != cgroup).then_some(Unfit::Scope)
}
