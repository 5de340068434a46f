//! A cgroup for the sockets of one test: what other programs of the host may
//! do keeps the sockets of their cgroups off the fast path, and not these.

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
