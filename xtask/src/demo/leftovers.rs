//! Proof that a run left nothing in the kernel.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, de::IgnoredAny};

use crate::command;

/// Where the agent pins; below each mounted bpffs.
const FOLDER: &str = "socketvirt";

/// First letters of the names of its programs and maps.
const PREFIX: &str = "sv_";

/// The kernel frees programs, maps and their cgroup links in the background.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of socketvirt is to be found on this machine at one moment.
pub struct Traces(BTreeSet<String>);

impl Traces {
    pub fn take() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let mut found = BTreeSet::new();
        for bpffs in mounted(&mounts, "bpf").chain([PathBuf::from("/sys/fs/bpf")]) {
            for pin in list(&bpffs.join(FOLDER)) {
                found.insert(format!("pinned: {}", pin.display()));
            }
        }
        for cgroups in mounted(&mounts, "cgroup2") {
            collect_cgroups(&cgroups, &mut found);
        }
        for kind in ["prog", "map"] {
            found.extend(loaded(kind)?);
        }
        Ok(Self(found))
    }

    /// What is there now and was not then, after the kernel had time to tidy up.
    pub fn new_since(&self) -> Result<Vec<String>> {
        let start = Instant::now();
        loop {
            let now = Self::take()?;
            let new: Vec<_> = now.0.difference(&self.0).cloned().collect();
            if new.is_empty() || start.elapsed() > PATIENCE {
                return Ok(new);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Mount points of a file system type, from a `/proc/self/mounts`.
fn mounted(mounts: &str, kind: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == kind).then(|| PathBuf::from(point))
    })
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
fn collect_cgroups(directory: &Path, found: &mut BTreeSet<String>) {
    for child in list(directory) {
        if !child.is_dir() {
            continue;
        }
        let name = child.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(FOLDER) {
            found.insert(format!("cgroup: {}", child.display()));
        }
        collect_cgroups(&child, found);
    }
}

/// Programs or maps of the agent, by bpftool.
fn loaded(kind: &str) -> Result<Vec<String>> {
    let json = command::output(Command::new("bpftool").args(["--json", kind, "list"]))?;
    parse_loaded(kind, &json)
        .with_context(|| format!("understanding the answer of `bpftool {kind} list`"))
}

fn parse_loaded(kind: &str, json: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Object {
        id: u32,
        #[serde(default)]
        name: String,
        #[serde(default)]
        pids: Vec<IgnoredAny>,
    }

    let objects: Vec<Object> = serde_json::from_str(json)?;
    Ok(objects
        .into_iter()
        // What a living process holds is that process's, not left behind.
        .filter(|object| object.name.starts_with(PREFIX) && object.pids.is_empty())
        .map(|Object { id, name, .. }| format!("loaded: {kind} {id} {name}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_type() {
        let mounts = "bpf /sys/fs/bpf bpf rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        let found: Vec<_> = mounted(mounts, "cgroup2").collect();
        assert_eq!(found, [PathBuf::from("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn cgroups_are_found_at_any_depth() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let nested = directory.path().join("user.slice/socketvirt-7");
        fs::create_dir_all(&nested)?;
        let mut found = BTreeSet::new();
        collect_cgroups(directory.path(), &mut found);
        let expected = format!("cgroup: {}", nested.display());
        assert_eq!(found, BTreeSet::from([expected]));
        Ok(())
    }

    #[test]
    fn only_objects_of_the_agent_count() -> Result<()> {
        let json = r#"[{"id":3,"type":"cgroup_device"},{"id":4,"name":"sv_sockets"},{"id":5,"name":"other"},
            {"id":6,"name":"sv_pairs","pids":[{"pid":7,"comm":"socketvirt"}]}]"#;
        assert_eq!(parse_loaded("map", json)?, ["loaded: map 4 sv_sockets"]);
        Ok(())
    }
}
