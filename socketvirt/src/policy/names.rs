//! Names that come and go: cgroups and executables. Rules have wildcards, the kernel
//! side has numbers; the agent answers for each number when it is met first.

use std::{collections::HashMap, fs, io, os::unix::fs::MetadataExt as _, path::Path};

use socketvirt_common::record::policy::{Dimension, LATER, NameKey, Set};

use super::{
    compile::number_of,
    file::Policy,
    matching::{of_cgroup, of_executable},
    store::{Store, StoreError},
};
use crate::{
    host::cgroup_id::{self, Hierarchy},
    program::readers,
};

/// The agent's side of the policy in force: it answers what looks have asked.
pub struct Names {
    store: Store,
    hierarchy: Option<Hierarchy>,
    /// The policy, as it was when its generation was this.
    known: Option<(u32, Policy)>,
    /// The sets that were made for it, by number from [`LATER`] on.
    made: HashMap<Set, u32>,
}

impl Names {
    /// Answers for the maps that are pinned in `folder`.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            store: Store::open(folder)?,
            // Without one, no cgroup has a path.
            hierarchy: Hierarchy::open().ok(),
            known: None,
            made: HashMap::new(),
        })
    }

    /// Reads the policy again when another one is in force. Returns its generation;
    /// none without a policy.
    fn refresh(&mut self) -> Result<Option<u32>, StoreError> {
        let generation = self.store.active().generation();
        if generation == 0 {
            return Ok(None);
        }
        if self
            .known
            .as_ref()
            .is_none_or(|(known, _)| *known != generation)
        {
            let Some(text) = self.store.text()? else {
                return Ok(None);
            };
            // Who has stored it has checked it. A user whose name has gone since leaves
            // what was asked for open.
            self.known = Policy::parse(Path::new("(in force)"), &text)
                .ok()
                .map(|policy| (generation, policy));
            self.made.clear();
        }
        Ok(Some(generation))
    }

    /// Answers what was asked for.
    ///
    /// # Errors
    /// When the maps cannot be read or written.
    pub fn answer(&mut self) -> Result<(), StoreError> {
        let Some(generation) = self.refresh()? else {
            return Ok(());
        };
        for (key, pid) in self.store.asked() {
            if key.generation != generation {
                self.store.forget(&key)?;
                continue;
            }
            let Some(set) = self.set_of(&key, pid) else {
                // It is asked for again, if anyone still wants to know.
                self.store.forget(&key)?;
                continue;
            };
            let next = LATER + u32::try_from(self.made.len()).unwrap_or(0);
            let number = *self.made.entry(set).or_insert(next);
            self.store.answer(key, &set, number)?;
        }
        Ok(())
    }

    /// The rules that a name does not rule out; none when it cannot be told.
    fn set_of(&self, key: &NameKey, pid: u64) -> Option<Set> {
        let (_, policy) = self.known.as_ref()?;
        match key.dimension {
            Dimension::Cgroup => {
                let path = self.hierarchy.as_ref().map(|top| top.path(key.value));
                match path {
                    Some(Ok(path)) => Some(of_cgroup(policy, Some(&path))),
                    Some(Err(error)) if !cgroup_id::is_gone(&error) => None,
                    _ => Some(of_cgroup(policy, None)),
                }
            }
            Dimension::Executable => {
                let path = executable(key, pid).ok().flatten()?;
                Some(of_executable(policy, &path))
            }
            _ => None,
        }
    }

    /// Applies the policy again when a namespace that it names by a path has another
    /// number than before.
    ///
    /// # Errors
    /// When the maps cannot be read or written.
    pub fn follow_namespaces(&mut self) -> Result<(), StoreError> {
        if !self.store.active().uses(Dimension::Namespace) || self.refresh()?.is_none() {
            return Ok(());
        }
        let Some((_, policy)) = &self.known else {
            return Ok(());
        };
        let named = policy
            .rules
            .iter()
            .filter_map(|rule| rule.namespace.as_ref());
        let mut numbers: Vec<u32> = named
            .flat_map(|many| &many.0)
            .filter_map(number_of)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers != self.store.namespaces()
            && let Some(text) = self.store.text()?
        {
            let policy = policy.clone();
            self.store.replace(&policy, &text)?;
        }
        Ok(())
    }
}

/// The path of an executable that a process runs; none when it runs another one by
/// now.
fn executable(key: &NameKey, pid: u64) -> io::Result<Option<String>> {
    let path = format!("/proc/{pid}/exe");
    let name = fs::read_link(&path)?;
    let found = fs::metadata(&path)?;
    let same = found.ino() == key.value && readers::version(&found) == key.version;
    // What was deleted, as an upgrade does, has its old name.
    let name = name.to_string_lossy();
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    Ok(same.then(|| name.to_owned()))
}
