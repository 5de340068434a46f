//! What surrounds every test: the lock that keeps tests one at a time, and
//! the check that nothing is left behind.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Uid,
};
use serde_json::Value;

use crate::process;

/// Sockets, and with them programs and maps, are freed after a grace period
/// of the kernel.
const GRACE: Duration = Duration::from_secs(10);

/// Where the agent pins.
const PINS: &str = "/sys/fs/bpf/socketvirt";

/// A test at work. Dropped, it fails the test when anything of ours that was
/// not there before is there now.
#[derive(Debug)]
pub struct Session {
    before: BTreeSet<String>,
    _alone: Flock<File>,
}

impl Session {
    /// Waits for other tests to end.
    #[must_use]
    pub fn start() -> Self {
        assert!(
            Uid::effective().is_root(),
            "the tests load programs into the kernel: run them as root"
        );
        let file = File::create("/run/socketvirt-tests.lock").expect("the lock file");
        let alone = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .expect("the lock");
        Self {
            before: objects(),
            _alone: alone,
        }
    }

    /// What is here that was not here when the session started.
    pub fn left(&self) -> Vec<String> {
        objects().difference(&self.before).cloned().collect()
    }

    /// Waits until nothing is left.
    #[track_caller]
    pub fn clean(&self) {
        let deadline = Instant::now() + GRACE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {left:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.clean();
        }
    }
}

/// Everything of socketvirt that the kernel holds.
fn objects() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Ok(entries) = fs::read_dir(PINS) {
        all.extend(
            entries
                .flatten()
                .map(|e| format!("pinned {}", e.path().display())),
        );
    }
    all.extend(
        cgroups()
            .into_iter()
            .map(|path| format!("cgroup {}", path.display())),
    );
    for kind in ["prog", "map", "link"] {
        all.extend(bpf_objects(kind));
    }
    all
}

/// Programs and maps whose names begin with `sv_`, and links of such programs.
fn bpf_objects(kind: &str) -> Vec<String> {
    let text = process::output("bpftool", ["--json", kind, "list"]);
    let Ok(Value::Array(list)) = serde_json::from_str(&text) else {
        return Vec::new();
    };
    let ours = |object: &&Value| {
        object["name"]
            .as_str()
            .is_some_and(|n| n.starts_with("sv_"))
    };
    list.iter()
        .filter(ours)
        .map(|o| format!("{kind} {} {}", o["id"], o["name"]))
        .collect()
}

/// The mount point of the cgroup v2 hierarchy.
pub fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let line = mounts
        .lines()
        .find(|l| l.split(' ').nth(2) == Some("cgroup2"))
        .expect("a cgroup v2 mount");
    PathBuf::from(line.split(' ').nth(1).expect("a mount point"))
}

/// The cgroups that `exec` has made.
pub fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&cgroup_root(), &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("socketvirt-exec-")
        {
            found.push(entry.path());
        } else {
            collect(&entry.path(), found);
        }
    }
}
