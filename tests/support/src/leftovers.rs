//! Proof that a run left nothing in the kernel.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{command, mounts, owner, wait};

/// Where the agent pins; below each mounted bpffs. Its cgroups' names begin so, too.
const FOLDER: &str = "socketvirt";

/// First letters of the names of its programs.
const PREFIX: &str = "sv_";

/// The kernel frees programs and cgroups in the background, after a grace period.
pub const GRACE: Duration = Duration::from_mins(2);

/// Something of socketvirt that is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// A folder or file of a bpffs.
    Pinned(PathBuf),
    /// A cgroup.
    Cgroup(PathBuf),
    /// A loaded program.
    Program {
        /// The kernel's number for it.
        id: u32,
        /// Its name.
        name: String,
    },
}

impl Trace {
    /// Where it is, if it has a place.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Pinned(path) | Self::Cgroup(path) => Some(path),
            Self::Program { .. } => None,
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(path) => write!(f, "pinned: {}", path.display()),
            Self::Cgroup(path) => write!(f, "cgroup: {}", path.display()),
            Self::Program { id, name } => write!(f, "loaded: program {id} {name}"),
        }
    }
}

/// Which processes' traces count.
type Counts<'a> = &'a dyn Fn(u32) -> bool;

/// Traces of socketvirt on this machine at one moment, without those that runs of others use.
#[derive(Debug)]
pub struct Traces {
    /// Everything that counts.
    pub found: BTreeSet<Trace>,
    /// Another run is under way. Its programs cannot be told from forgotten ones, so none is listed.
    others: bool,
}

/// The leftovers of runs.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Each in words.
    pub found: Vec<String>,
    /// The places that were searched.
    pub searched: &'static str,
}

impl Traces {
    /// Those of processes that have ended.
    pub fn take() -> Result<Self> {
        Self::of(&|pid| !owner::lives(pid))
    }

    /// Those of the processes that `counts` says true of. A program that no process holds counts, too.
    pub fn of(counts: Counts<'_>) -> Result<Self> {
        let mounts = mounts::read()?;
        let bpffs = mounts::points(&mounts, "bpf", "").chain([PathBuf::from("/sys/fs/bpf")]);
        let pins: BTreeSet<_> = bpffs.flat_map(|bpffs| list(&bpffs.join(FOLDER))).collect();
        let mut cgroups = Vec::new();
        for hierarchy in mounts::points(&mounts, "cgroup2", "") {
            collect_cgroups(&hierarchy, &mut cgroups);
        }

        let pins = pins.into_iter().map(Trace::Pinned);
        let mut traces = Self::sort_out(pins.chain(cgroups.into_iter().map(Trace::Cgroup)), counts);
        if !traces.others {
            traces.found.extend(programs(counts)?);
        }
        Ok(traces)
    }

    fn sort_out(all: impl Iterator<Item = Trace>, counts: Counts<'_>) -> Self {
        let is_ours = |trace: &Trace| {
            let owner = trace.path().and_then(owner::of_agent);
            // A trace without an owner in its name is nobody's, so it is left behind.
            owner.is_none_or(counts)
        };
        let (found, others): (BTreeSet<_>, BTreeSet<_>) = all.partition(is_ours);
        Self {
            found,
            others: !others.is_empty(),
        }
    }

    /// Returns what is there now and was not then, after the kernel had time to tidy up.
    pub fn new_since(&self) -> Result<Leftovers> {
        let mut left = Leftovers::default();
        wait::until(GRACE, || {
            let now = Self::take()?;
            let found = now.found.difference(&self.found);
            left.found = found.map(Trace::to_string).collect();
            left.searched = if now.others || self.others {
                "pins, cgroups; not programs, another run is under way"
            } else {
                "pins, cgroups, programs"
            };
            Ok(left.found.is_empty())
        })?;
        Ok(left)
    }
}

/// The entries of a directory; none if it is not there.
fn list(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// Cgroups of the agent at any depth; one that goes away meanwhile is no leftover.
fn collect_cgroups(directory: &Path, found: &mut Vec<PathBuf>) {
    for child in list(directory) {
        if !child.is_dir() {
            continue;
        }
        let name = child.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.starts_with(FOLDER);
        collect_cgroups(&child, found);
        if ours {
            found.push(child);
        }
    }
}

/// Programs of the agent, by bpftool.
///
/// Not its maps: whoever opens and closes a program array while the kernel empties it, as a listing
/// of maps does, makes the kernel take a reference that it never gives back
/// (`prog_array_map_clear` takes one before `schedule_work`, which may find the work queued already),
/// and so makes the leftover that was looked for.
fn programs(counts: Counts<'_>) -> Result<Vec<Trace>> {
    let json = command::output(Command::new("bpftool").args(["--json", "prog", "list"]))?;
    parse_programs(&json, counts).context("understanding the answer of `bpftool prog list`")
}

fn parse_programs(json: &str, counts: Counts<'_>) -> Result<Vec<Trace>> {
    #[derive(Deserialize)]
    struct Program {
        id: u32,
        #[serde(default)]
        name: String,
        #[serde(default)]
        pids: Vec<Holder>,
    }
    #[derive(Deserialize)]
    struct Holder {
        pid: u32,
    }

    let programs: Vec<Program> = serde_json::from_str(json)?;
    Ok(programs
        .into_iter()
        // A program that a process of others holds is that process's, not left behind.
        .filter(|program| program.name.starts_with(PREFIX))
        .filter(|program| program.pids.iter().all(|holder| counts(holder.pid)))
        .map(|Program { id, name, .. }| Trace::Program { id, name })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_found_at_any_depth() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let nested = directory.path().join("user.slice/socketvirt-7");
        fs::create_dir_all(&nested)?;
        let mut found = Vec::new();
        collect_cgroups(directory.path(), &mut found);
        assert_eq!(found, [nested]);
        Ok(())
    }

    #[test]
    fn what_runs_of_others_use_is_not_left_behind() {
        let of = |pid| Trace::Cgroup(format!("/cgroup/socketvirt-exec-{pid}-1234").into());
        let ours: Counts<'_> = &|pid| pid == 7;
        let traces = Traces::sort_out([of(7)].into_iter(), ours);
        assert_eq!((traces.found.len(), traces.others), (1, false));
        let traces = Traces::sort_out([of(7), of(8)].into_iter(), ours);
        assert_eq!((traces.found.len(), traces.others), (1, true));
        let nobodys = Trace::Pinned("/sys/fs/bpf/socketvirt/x".into());
        assert_eq!(Traces::sort_out([nobodys].into_iter(), ours).found.len(), 1);
    }

    #[test]
    fn only_programs_of_the_agent_count() -> Result<()> {
        let json = r#"[{"id":3,"type":"cgroup_device"},{"id":4,"name":"sv_msg"},{"id":5,"name":"other"},
            {"id":6,"name":"sv_scan","pids":[{"pid":7,"comm":"socketvirt"}]}]"#;
        let words = |counts: Counts<'_>| -> Result<Vec<String>> {
            let found = parse_programs(json, counts)?;
            Ok(found.iter().map(Trace::to_string).collect())
        };
        assert_eq!(words(&|_| false)?, ["loaded: program 4 sv_msg"]);
        assert_eq!(words(&|pid| pid == 7)?.len(), 2);
        Ok(())
    }
}
