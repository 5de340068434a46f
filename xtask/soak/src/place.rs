//! Where the traffic runs: a cgroup of its own, so that the agent touches nothing else, and a limit to its memory
//! where the machine has a controller for it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};
use test_support::cgroup::{self, Cgroup};

/// Begins the name, before this process's id.
const NAME: &str = "svt-soak-";

/// Bytes that traffic and what presses it may have together.
const LIMIT: u64 = 768 << 20;

/// Folders of this run's cgroups, removed when dropped.
pub struct Place {
    traffic: PathBuf,
    /// Where processes that press the memory join.
    press: Vec<PathBuf>,
    memory: Memory,
    /// Children first.
    made: Vec<Cgroup>,
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
        let root = cgroup::root()?;
        let name = format!("{NAME}{}", process::id());
        let mut place = Self {
            traffic: root.join(&name).join("traffic"),
            press: vec![root.join(&name).join("press")],
            memory: Memory::None,
            made: Vec::new(),
        };
        cgroup::sweep(&root, NAME);
        // Refused where another hierarchy has it.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        let top = root.join(&name);
        place.create(top.clone())?;
        place.create(place.traffic.clone())?;
        place.create(top.join("press"))?;
        if fs::write(top.join("memory.max"), LIMIT.to_string()).is_ok() {
            place.memory = Memory::Second;
        } else if let Some(parent) = cgroup::own_of("memory")? {
            cgroup::sweep(&parent, NAME);
            let folder = parent.join(&name);
            if place.create(folder.clone()).is_ok()
                && fs::write(folder.join("memory.limit_in_bytes"), LIMIT.to_string()).is_ok()
            {
                place.press.push(folder.clone());
                place.memory = Memory::First(folder);
            }
        }
        Ok(place)
    }

    fn create(&mut self, folder: PathBuf) -> Result<()> {
        self.made.insert(0, Cgroup::make(folder)?);
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

    /// Says in words how memory is pressed here.
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
    pub fn remove(self) -> Result<()> {
        self.made.into_iter().try_for_each(Cgroup::remove)
    }
}
