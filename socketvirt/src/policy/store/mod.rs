//! The maps that hold the policy in force. Whoever may write the pinned maps may
//! replace it; the agent need not run.

mod write;

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError};
use nix::fcntl::{Flock, FlockArg};
use socketvirt_common::{
    reason::Reason,
    record::{
        policy::{
            Active, DEFAULT, Dimension, NameKey, NetKey, NetSets, PIECE, PIECES, PORTS, Piece,
            PortSets, RuleInfo, RuleStats, SLOTS, Set, SetKey, TextKey,
        },
        program::Program,
        raw::Raw,
    },
};

use super::{
    compile::{Compiled, TooMany},
    file::Policy,
    vouches,
};
use crate::host::mapping::Mapping;

/// One changes a policy at a time. The folders of bpffs have locks of other meaning.
const LOCK: &str = "/run/socketvirt-policy.lock";

/// The maps could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// They are not there.
    #[error("opening the policy in {folder} failed: {source}; is the agent of this build?")]
    Open {
        /// Where they are pinned.
        folder: PathBuf,
        /// What the kernel answered.
        source: MapError,
    },
    /// The kernel refused.
    #[error("{attempt} failed: {source}; the policy that was in force is so still")]
    Map {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel answered.
        source: MapError,
    },
    /// Another one is at work, or the memory is not to be had.
    #[error("{attempt} failed: {source}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// It has no room.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Its text has no room.
    #[error("the policy has {0} bytes, at most {max} are possible", max = PIECES as usize * PIECE - 1)]
    TooLong(usize),
}

pub(super) fn map(attempt: &'static str) -> impl FnOnce(MapError) -> StoreError {
    move |source| StoreError::Map { attempt, source }
}

fn system<E: Into<io::Error>>(attempt: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::System {
        attempt,
        source: source.into(),
    }
}

/// The maps of a home.
pub struct Store {
    active: Mapping,
    ports: Mapping,
    nets: LpmTrie<MapData, NetKey, NetSets>,
    values: HashMap<MapData, Raw<NameKey>, u32>,
    names: HashMap<MapData, Raw<NameKey>, u32>,
    asked: HashMap<MapData, Raw<NameKey>, u64>,
    sets: HashMap<MapData, SetKey, Set>,
    rules: Array<MapData, Raw<RuleInfo>>,
    stats: Array<MapData, RuleStats>,
    text: HashMap<MapData, TextKey, Piece>,
    pub(super) habits: HashMap<MapData, Raw<Program>, Raw<Reason>>,
}

impl Store {
    /// Those that are pinned in `folder`.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let pinned = |name: &str| {
            MapData::from_pin(folder.join(name)).map_err(|source| StoreError::Open {
                folder: folder.to_owned(),
                source,
            })
        };
        let mapped = |name: &str, length| {
            Mapping::shared(pinned(name)?.fd().as_fd(), length)
                .map_err(system("mapping the policy"))
        };
        let hash = |name: &str| Ok::<_, StoreError>(Map::HashMap(pinned(name)?));
        let recent = |name: &str| Ok::<_, StoreError>(Map::LruHashMap(pinned(name)?));
        let array = |name: &str| Ok::<_, StoreError>(Map::Array(pinned(name)?));
        let wrong = || map("opening the policy");
        Ok(Self {
            active: mapped("sv_policy", size_of::<u64>())?,
            ports: mapped("sv_rule_ports", 2 * PORTS as usize * size_of::<PortSets>())?,
            nets: Map::LpmTrie(pinned("sv_rule_nets")?)
                .try_into()
                .map_err(wrong())?,
            values: hash("sv_rule_values")?.try_into().map_err(wrong())?,
            names: recent("sv_rule_names")?.try_into().map_err(wrong())?,
            asked: recent("sv_rule_asked")?.try_into().map_err(wrong())?,
            sets: hash("sv_rule_sets")?.try_into().map_err(wrong())?,
            rules: array("sv_rules")?.try_into().map_err(wrong())?,
            stats: array("sv_rule_stats")?.try_into().map_err(wrong())?,
            text: hash("sv_policy_text")?.try_into().map_err(wrong())?,
            habits: recent("sv_habits")?.try_into().map_err(wrong())?,
        })
    }

    /// The policy in force.
    #[must_use]
    pub fn active(&self) -> Active {
        Active(self.word().load(Ordering::Acquire))
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the mapping has these 8 bytes, as long as `self`, and everyone
        // stores them at once.
        unsafe { self.active.start().cast().as_ref() }
    }

    /// Puts a policy in force that an operator wants. Its vouches count, also those that
    /// were void before. Returns its generation.
    ///
    /// # Errors
    /// When there is no room, or the kernel refuses. The one before stays in force.
    pub fn apply(&mut self, policy: &Policy, text: &str) -> Result<u32, StoreError> {
        let generation = self.replace(policy, text)?;
        self.forgive()?;
        Ok(generation)
    }

    /// Puts a policy in force: written beside the one before, and published by one
    /// store. Returns its generation.
    ///
    /// # Errors
    /// When there is no room, or the kernel refuses. The one before stays in force.
    pub fn replace(&mut self, policy: &Policy, text: &str) -> Result<u32, StoreError> {
        let mut compiled = Compiled::new(policy)?;
        if vouches::shortcoming(policy.assumes()).is_some() {
            compiled.without_vouches();
        }
        let lock =
            File::create(LOCK).map_err(system("opening the lock /run/socketvirt-policy.lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| system("locking the policy")(error))?;
        let before = self.active().generation();
        // 0 stands for no policy.
        let generation = before.checked_add(1).unwrap_or(2);
        let next = Active::new(generation, compiled.uses, compiled.rules);
        // Of a policy that could not be stored.
        self.clear(|other| other != before)?;
        let stored = self.write(next, &compiled, policy, text);
        if let Err(error) = stored {
            // The first error is the one to report.
            let _ = self.clear(|other| other != before);
            return Err(error);
        }
        self.word().store(next.0, Ordering::Release);
        // The one in force is complete, whatever of the other one stays.
        let _ = self.clear(|other| other != generation);
        Ok(generation)
    }

    /// The text of the policy in force; none while there is no policy.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self) -> Result<Option<String>, StoreError> {
        let generation = self.active().generation();
        if generation == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        for piece in 0..PIECES {
            let part = self
                .text
                .get(&TextKey { generation, piece }, 0)
                .map_err(map("reading sv_policy_text"))?;
            bytes.extend_from_slice(&part);
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                bytes.truncate(bytes.len() - PIECE + end);
                break;
            }
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The counters of a rule of the policy in force, or of the default (no number).
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn stats(&self, rule: Option<usize>) -> Result<RuleStats, StoreError> {
        let rule = rule.map_or(DEFAULT, |rule| u32::try_from(rule).unwrap_or(DEFAULT));
        self.stats
            .get(&self.active().slot(rule), 0)
            .map_err(map("reading sv_rule_stats"))
    }

    /// The numbers of the namespaces that rules of the policy in force name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<u32> {
        let generation = self.active().generation();
        let keys = self.values.keys().filter_map(|key| key.ok()?.value().ok());
        let mut found: Vec<u32> = keys
            .filter(|key| key.generation == generation && key.dimension == Dimension::Namespace)
            .filter_map(|key| u32::try_from(key.value).ok())
            .collect();
        found.sort_unstable();
        found
    }

    /// The names of the policy in force that were asked for, each with a process.
    #[must_use]
    pub fn asked(&self) -> Vec<(NameKey, u64)> {
        self.asked
            .iter()
            .filter_map(|entry| {
                let (key, process) = entry.ok()?;
                Some((key.value().ok()?, process))
            })
            .collect()
    }

    /// Answers what was asked for: the set of a name, under this number.
    ///
    /// # Errors
    /// When the maps cannot be written.
    pub fn answer(&mut self, key: NameKey, set: &Set, number: u32) -> Result<(), StoreError> {
        self.put(key.generation, number, set)?;
        self.names
            .insert(Raw::of(key), number, 0)
            .map_err(map("writing sv_rule_names"))?;
        self.forget(&key)
    }

    /// Writes a set under its number.
    fn put(&mut self, generation: u32, number: u32, set: &Set) -> Result<(), StoreError> {
        let place = SetKey {
            generation,
            set: number,
        };
        self.sets
            .insert(place, set, 0)
            .map_err(map("writing sv_rule_sets"))
    }

    /// Forgets that a name was asked for.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn forget(&mut self, key: &NameKey) -> Result<(), StoreError> {
        gone(self.asked.remove(&Raw::of(*key))).map_err(map("writing sv_rule_asked"))
    }
}

/// The key of a name.
#[must_use]
pub const fn name_key(generation: u32, dimension: Dimension, value: u64, version: u64) -> NameKey {
    NameKey {
        value,
        version,
        generation,
        dimension,
    }
}

/// What is not there any more need not be taken away.
pub(super) fn gone(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}

const _: () = assert!(SLOTS == DEFAULT + 1);
