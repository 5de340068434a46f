//! Where the traffic runs: a cgroup of its own, so that the agent touches nothing else, and a limit to its memory
//! where the machine has a controller for it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::faults::SPACE;
use crate::command;

/// Begins the name, before this process's id.
const NAME: &str = "svt-soak-";

/// Bytes that traffic and what presses it may have together.
const LIMIT: u64 = 768 << 20;

/// The kernel lets a cgroup go once its last process is gone altogether.
const PATIENCE: Duration = Duration::from_mins(1);

/// Removes network namespaces of runs whose process has ended, and those of this one.
pub fn sweep_spaces() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(SPACE)
            .and_then(|rest| rest.split('-').next());
        let is_own = |pid: &str| pid == process::id().to_string();
        if owner.is_some_and(|pid| is_own(pid) || !Path::new("/proc").join(pid).exists()) {
            command::run(Command::new("ip").args(["netns", "del", &name]))?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Folders of this run's cgroups, removed when dropped.
pub struct Place {
    traffic: PathBuf,
    /// Where processes that press the memory join.
    press: Vec<PathBuf>,
    memory: Memory,
    /// Children first.
    made: Vec<PathBuf>,
}

/// The controller of memory that there is.
enum Memory {
    None,
    /// Version 1, with its limit of the sockets' buffers.
    First(PathBuf),
    Second,
}

impl Place {
    pub fn make() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
        let root = mounted(&mounts, "cgroup2", "")
            .context("no cgroup v2 hierarchy is mounted; mount one at /sys/fs/cgroup")?;
        let name = format!("{NAME}{}", process::id());
        let mut place = Self {
            traffic: root.join(&name).join("traffic"),
            press: vec![root.join(&name).join("press")],
            memory: Memory::None,
            made: Vec::new(),
        };
        sweep(&root);
        // Refused where another hierarchy has it.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        let top = root.join(&name);
        place.create(top.clone())?;
        place.create(place.traffic.clone())?;
        place.create(top.join("press"))?;
        if fs::write(top.join("memory.max"), LIMIT.to_string()).is_ok() {
            place.memory = Memory::Second;
        } else if let Some(root) = mounted(&mounts, "cgroup", "memory") {
            let own = own_group("memory")?;
            let parent = root.join(own.strip_prefix("/").unwrap_or(&own));
            sweep(&parent);
            let folder = parent.join(&name);
            if fs::create_dir(&folder).is_ok() {
                place.made.insert(0, folder.clone());
                if fs::write(folder.join("memory.limit_in_bytes"), LIMIT.to_string()).is_ok() {
                    place.press.push(folder.clone());
                    place.memory = Memory::First(folder);
                }
            }
        }
        Ok(place)
    }

    fn create(&mut self, folder: PathBuf) -> Result<()> {
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        self.made.insert(0, folder);
        Ok(())
    }

    /// Whose connections the agent accelerates.
    pub fn traffic(&self) -> &Path {
        &self.traffic
    }

    /// The folders that a process of the traffic joins.
    pub fn traffic_groups(&self) -> Vec<PathBuf> {
        let mut groups = vec![self.traffic.clone()];
        if let Memory::First(folder) = &self.memory {
            groups.push(folder.clone());
        }
        groups
    }

    pub fn press_groups(&self) -> Vec<PathBuf> {
        self.press.clone()
    }

    /// How memory is pressed here, in words.
    pub fn pressed_by(&self) -> &'static str {
        match self.memory {
            Memory::None => "processes that fill memory; no memory controller is here",
            Memory::First(_) => "a cgroup v1 limit",
            Memory::Second => "a cgroup v2 limit",
        }
    }

    /// Bytes that fill the limit, or a bounded part of the machine.
    pub fn fill(&self) -> u64 {
        match self.memory {
            Memory::None => 512 << 20,
            Memory::First(_) | Memory::Second => LIMIT,
        }
    }

    /// Takes the sockets' buffers away, as far as can be: true if there is a limit for it and the
    /// sockets do not hold more already.
    pub fn squeeze(&self, bytes: Option<u64>) -> Result<bool> {
        let Memory::First(folder) = &self.memory else {
            return Ok(false);
        };
        let file = folder.join("memory.kmem.tcp.limit_in_bytes");
        if !file.exists() {
            return Ok(false);
        }
        let limit = bytes.map_or_else(|| String::from("-1"), |bytes| bytes.to_string());
        match fs::write(&file, limit) {
            Ok(()) => Ok(true),
            // More than that is in use.
            Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(false),
            Err(error) => Err(error).with_context(|| format!("writing {}", file.display())),
        }
    }

    /// Takes the cgroups away; whoever is still in one is what was left behind.
    pub fn remove(mut self) -> Result<()> {
        let start = Instant::now();
        while let Some(folder) = self.made.first() {
            match fs::remove_dir(folder) {
                Ok(()) => drop(self.made.remove(0)),
                Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                Err(error) => bail!("{} cannot be removed: {error}", folder.display()),
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let start = Instant::now();
        for folder in &self.made {
            while fs::remove_dir(folder).is_err() && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The first mount point of a type and option, from a `/proc/self/mounts`.
fn mounted(mounts: &str, kind: &str, option: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, found, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = option.is_empty() || options.split(',').any(|word| word == option);
        (found == kind && has).then(|| PathBuf::from(point))
    })
}

/// This process's cgroup of a controller of version 1.
fn own_group(controller: &str) -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")?;
    let own = text.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names
            .split(',')
            .any(|name| name == controller)
            .then(|| PathBuf::from(path))
    });
    Ok(own.unwrap_or_else(|| PathBuf::from("/")))
}

/// Removes the cgroups of a run that was killed; its processes have ended with it.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(NAME);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            for child in ["traffic", "press", ""] {
                // What is not empty is not ours to end.
                let _ = fs::remove_dir(entry.path().join(child));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_by_its_option() {
        let mounts = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
                      cgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = |kind, option| mounted(mounts, kind, option);
        assert_eq!(found("cgroup", "memory"), Some("/c/memory".into()));
        assert_eq!(found("cgroup2", ""), Some("/c/unified".into()));
        assert_eq!(found("cgroup", "pids"), None);
    }
}
