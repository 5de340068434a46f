//! Cgroups for one test. [`Apart`] for its sockets: what other programs of the
//! host may do keeps the sockets of their cgroups off the fast path, and not
//! these. [`Limit`] for their memory.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use test_support::{
    cgroup::{self, Cgroup, PROCESSES},
    wait,
};

use crate::{
    run::{shell, workload_path},
    session::cgroup_root,
};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// This process is in a cgroup of its own until this is dropped; what was
/// started meanwhile goes on in the one before. A cgroup that an agent has left
/// in it fails the test, and goes too.
#[derive(Debug)]
pub struct Apart {
    before: PathBuf,
    path: PathBuf,
}

impl Apart {
    /// Makes the cgroup and moves this process there. It needs a lock that
    /// keeps tests one at a time, see [`crate::session::Session`].
    #[must_use]
    pub fn new() -> Self {
        let number = COUNTER.fetch_add(1, Relaxed);
        let path = cgroup_root().join(format!("svt-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        let apart = Self {
            before: cgroup::own().expect("the own cgroup"),
            path,
        };
        fs::write(apart.path.join(PROCESSES), "0").expect("move to a cgroup");
        apart
    }
}

impl Apart {
    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Apart {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes a cgroup away, and those below it, which are added to `below`.
fn take_away(cgroup: &Path, before: &Path, below: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below.insert(entry.path());
            take_away(&entry.path(), before, below)?;
        }
    }
    for pid in fs::read_to_string(cgroup.join(PROCESSES))?.lines() {
        // One that is about to end cannot be moved.
        let _ = fs::write(before.join(PROCESSES), pid);
    }
    fs::remove_dir(cgroup)
}

impl Drop for Apart {
    fn drop(&mut self) {
        let (mut below, mut taken) = (BTreeSet::new(), Ok(()));
        let _ = wait::until(cgroup::GRACE, || {
            taken = take_away(&self.path, &self.before, &mut below);
            Ok(taken.is_ok())
        });
        if thread::panicking() {
            if let Err(error) = taken {
                eprintln!("{} stays: {error}", self.path.display());
            }
            return;
        }
        taken.unwrap_or_else(|error| panic!("{} stays: {error}", self.path.display()));
        assert!(below.is_empty(), "left behind: {below:#?}");
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, process::Command};

    use super::*;
    use crate::{process::Process, session::Session};

    fn cgroup_of(pid: nix::unistd::Pid) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
        let line = text.lines().find_map(|line| line.strip_prefix("0::"));
        line.expect("cgroup v2").to_owned()
    }

    #[test]
    fn what_goes_on_does_so_where_it_was_before() {
        let _session = Session::start();
        let own = cgroup_of(nix::unistd::getpid());
        let apart = Apart::new();
        let going_on = Process::start(Command::new("sleep").arg("60"));
        assert_ne!(cgroup_of(going_on.pid()), own);
        let path = apart.path.clone();
        drop(apart);
        assert!(!path.exists());
        assert_eq!(cgroup_of(going_on.pid()), own);
        assert_eq!(cgroup_of(nix::unistd::getpid()), own);
    }

    #[test]
    fn cgroups_below_are_told_and_go_too() {
        let _session = Session::start();
        let apart = Apart::new();
        let path = apart.path.clone();
        let below = path.join("left/deeper");
        fs::create_dir_all(&below).expect("cgroups");
        let inside = Process::start(Command::new("sleep").arg("60"));
        fs::write(below.join(PROCESSES), inside.pid().to_string()).expect("move to a cgroup");
        let told = panic::catch_unwind(|| drop(apart)).expect_err("nothing is told");
        let told = told.downcast_ref::<String>().expect("words");
        assert!(told.contains("left/deeper"), "{told}");
        assert!(!path.exists());
    }
}

/// A cgroup of version 1 with a limit of memory for TCP, without processes.
/// Version 2 has no such limit.
#[derive(Debug)]
pub struct Limit(Cgroup);

impl Limit {
    /// Makes it; `None` where memory is not controlled by version 1, or the
    /// kernel has no such limit, which is said on standard error.
    #[must_use]
    pub fn make(bytes: u64) -> Option<Self> {
        let limit = own_memory().and_then(|own| Self::below(&own, bytes));
        if limit.is_none() {
            eprintln!("SKIPPED: this host has no limit of memory for sockets (cgroup v1)");
        }
        limit
    }

    fn below(own: &Path, bytes: u64) -> Option<Self> {
        let number = COUNTER.fetch_add(1, Relaxed);
        let path = own.join(format!("svt-{}-{number}", std::process::id()));
        let limit = Self(Cgroup::make(path).ok()?);
        fs::write(limit.folder().join(TCP_LIMIT), bytes.to_string()).ok()?;
        Some(limit)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// The command that runs the workload in it.
    #[must_use]
    pub fn inside(&self, args: &str) -> Vec<OsString> {
        let procs = self.folder().join(PROCESSES);
        let workload = workload_path();
        shell(&format!(
            "echo $$ > {} && exec {workload} {args}",
            procs.display()
        ))
    }

    /// The most bytes that were ever charged to it.
    pub fn peak(&self) -> u64 {
        let text = fs::read_to_string(self.folder().join("memory.kmem.tcp.max_usage_in_bytes"));
        text.expect("the peak").trim().parse().expect("bytes")
    }
}

/// The file of a cgroup's limit, in bytes.
pub const TCP_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";
/// The file of what is charged to a cgroup, in bytes.
pub const TCP_USAGE: &str = "memory.kmem.tcp.usage_in_bytes";

/// The folder of this thread's memory in the hierarchy of version 1.
fn own_memory() -> Option<PathBuf> {
    cgroup::own_of("memory").expect("the own cgroup")
}

/// The calling thread is in a memory cgroup (version 1) until this is dropped.
#[derive(Debug)]
pub struct Inside {
    before: PathBuf,
}

impl Inside {
    /// Moves the thread, and no other of the process.
    #[must_use]
    pub fn enter(folder: &Path) -> Self {
        let before = own_memory().expect("a memory cgroup of version 1");
        fs::write(folder.join("tasks"), "0").expect("move to a memory cgroup");
        Self { before }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        fs::write(self.before.join("tasks"), "0").expect("move back");
    }
}
