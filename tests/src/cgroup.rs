//! Cgroups for one test. [`Apart`] for its sockets: what other programs of the
//! host may do keeps the sockets of their cgroups off the fast path, and not
//! these. [`Limit`] for their memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::session::cgroup_root;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// This process is in a cgroup of its own until this is dropped.
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
        let own = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let number = COUNTER.fetch_add(1, Relaxed);
        let path = cgroup_root().join(format!("svt-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        let apart = Self {
            before: cgroup_root().join(own.expect("cgroup v2")),
            path,
        };
        join(&apart.path);
        apart
    }
}

impl Default for Apart {
    fn default() -> Self {
        Self::new()
    }
}

fn join(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), "0").expect("move to a cgroup");
}

impl Drop for Apart {
    fn drop(&mut self) {
        join(&self.before);
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            // What was started meanwhile and goes on.
            let _ = fs::write(self.before.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// A cgroup of version 1 with a limit of memory for TCP, without processes.
/// Version 2 has no such limit.
#[derive(Debug)]
pub struct Limit(PathBuf);

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
        fs::create_dir(&path).ok()?;
        let limit = Self(path);
        fs::write(limit.0.join(TCP_LIMIT), bytes.to_string()).ok()?;
        Some(limit)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The most bytes that were ever charged to it.
    pub fn peak(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.kmem.tcp.max_usage_in_bytes"));
        text.expect("the peak").trim().parse().expect("bytes")
    }
}

const TCP_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The folder of this thread's memory in the hierarchy of version 1.
fn own_memory() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind, options) = (words.next()?, words.next()?, words.next()?);
        let memory = options.split(',').any(|word| word == "memory");
        (kind == "cgroup" && memory).then(|| PathBuf::from(point))
    })?;
    let own = fs::read_to_string("/proc/thread-self/cgroup").ok()?;
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let memory = controllers.split(',').any(|word| word == "memory");
        memory.then_some(path)
    })?;
    Some(root.join(path.trim_start_matches('/')))
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
