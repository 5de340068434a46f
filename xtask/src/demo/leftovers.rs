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

/// First letters of the names of its programs.
const PREFIX: &str = "sv_";

/// The kernel frees programs and cgroups in the background.
const PATIENCE: Duration = Duration::from_mins(1);

/// What of socketvirt is to be found on this machine at one moment, without what living runs use.
pub struct Traces {
    found: BTreeSet<String>,
    /// Another run is under way. Its programs cannot be told from forgotten ones, so none is listed.
    others: bool,
}

/// What the demo's runs left.
#[derive(Default)]
pub struct Leftovers {
    pub found: Vec<String>,
    /// What was looked for.
    pub searched: &'static str,
}

impl Traces {
    pub fn take() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let bpffs = mounted(&mounts, "bpf").chain([PathBuf::from("/sys/fs/bpf")]);
        let pins: BTreeSet<_> = bpffs.flat_map(|bpffs| list(&bpffs.join(FOLDER))).collect();
        let mut cgroups = Vec::new();
        for hierarchy in mounted(&mounts, "cgroup2") {
            collect_cgroups(&hierarchy, &mut cgroups);
        }

        let mut traces = Self {
            found: BTreeSet::new(),
            others: false,
        };
        traces.sort_out("pinned", pins);
        traces.sort_out("cgroup", cgroups);
        if !traces.others {
            traces.found.extend(programs()?);
        }
        Ok(traces)
    }

    fn sort_out(&mut self, kind: &str, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            if has_living_owner(&path) {
                self.others = true;
            } else {
                self.found.insert(format!("{kind}: {}", path.display()));
            }
        }
    }

    /// What is there now and was not then, after the kernel had time to tidy up.
    pub fn new_since(&self) -> Result<Leftovers> {
        let start = Instant::now();
        loop {
            let now = Self::take()?;
            let found: Vec<_> = now.found.difference(&self.found).cloned().collect();
            if found.is_empty() || start.elapsed() > PATIENCE {
                let searched = if now.others || self.others {
                    "pins, cgroups; not programs, another run is under way"
                } else {
                    "pins, cgroups, programs"
                };
                return Ok(Leftovers { found, searched });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether the process lives that made this; the agent's names end in `<pid>-<start time>`.
fn has_living_owner(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('-')
        .nth(1)
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
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
fn programs() -> Result<Vec<String>> {
    let json = command::output(Command::new("bpftool").args(["--json", "prog", "list"]))?;
    parse_programs(&json).context("understanding the answer of `bpftool prog list`")
}

fn parse_programs(json: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Program {
        id: u32,
        #[serde(default)]
        name: String,
        #[serde(default)]
        pids: Vec<IgnoredAny>,
    }

    let programs: Vec<Program> = serde_json::from_str(json)?;
    Ok(programs
        .into_iter()
        // What a living process holds is that process's, not left behind.
        .filter(|program| program.name.starts_with(PREFIX) && program.pids.is_empty())
        .map(|Program { id, name, .. }| format!("loaded: program {id} {name}"))
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
        let mut found = Vec::new();
        collect_cgroups(directory.path(), &mut found);
        assert_eq!(found, [nested]);
        Ok(())
    }

    #[test]
    fn what_a_living_run_uses_is_not_left_behind() -> Result<()> {
        let mut dead = Command::new("true").spawn()?;
        dead.wait()?;
        let mut traces = Traces {
            found: BTreeSet::new(),
            others: false,
        };
        let path = |pid| PathBuf::from(format!("/cgroup/socketvirt-exec-{pid}-1234"));
        traces.sort_out("cgroup", [path(dead.id())]);
        assert_eq!(traces.found.len(), 1);
        assert!(!traces.others);
        traces.sort_out("cgroup", [path(std::process::id())]);
        assert_eq!(traces.found.len(), 1);
        assert!(traces.others);
        Ok(())
    }

    #[test]
    fn only_programs_of_the_agent_count() -> Result<()> {
        let json = r#"[{"id":3,"type":"cgroup_device"},{"id":4,"name":"sv_msg"},{"id":5,"name":"other"},
            {"id":6,"name":"sv_scan","pids":[{"pid":7,"comm":"socketvirt"}]}]"#;
        assert_eq!(parse_programs(json)?, ["loaded: program 4 sv_msg"]);
        Ok(())
    }
}
