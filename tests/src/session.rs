//! What surrounds every test: the lock that keeps those apart that look at the
//! whole host, and the check that nothing is left behind.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{Pid, Uid},
};
use serde_json::Value;

use crate::process;

/// Sockets, and with them programs, are freed after a grace period of the
/// kernel.
const GRACE: Duration = Duration::from_mins(2);

/// Where the agent pins.
pub const PINS: &str = "/sys/fs/bpf/socketvirt";

/// A test at work. Dropped, it fails the test when anything of ours that was
/// not there before is there now.
#[derive(Debug)]
pub struct Session {
    before: BTreeSet<String>,
    _lock: Flock<File>,
}

impl Session {
    /// Waits for other tests to end: this one looks at the whole host.
    #[must_use]
    pub fn start() -> Self {
        Self::locked(FlockArg::LockExclusive)
    }

    /// Runs beside others that do the same: this one has sockets and agents of
    /// its own, looks at no others, and leaves none for others to clear.
    #[must_use]
    pub fn beside_others() -> Self {
        Self::locked(FlockArg::LockShared)
    }

    fn locked(how: FlockArg) -> Self {
        assert!(
            Uid::effective().is_root(),
            "the tests load programs into the kernel: run them as root"
        );
        let file = File::create("/run/socketvirt-tests.lock").expect("the lock file");
        let lock = Flock::lock(file, how)
            .map_err(|(_, e)| e)
            .expect("the lock");
        Self {
            before: objects(),
            _lock: lock,
        }
    }

    /// What is here of ours that was not here when the session started.
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

/// Agents that were started by this test program.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Notes that a process is an agent of ours, whose traces have to go.
pub fn started(agent: Pid) {
    STARTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(agent.as_raw());
}

/// Everything that agents of ours, and nobody else, have in the kernel.
fn objects() -> BTreeSet<String> {
    let pins = fs::read_dir(PINS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    let (ours, others): (Vec<_>, Vec<_>) = pins.chain(cgroups()).partition(|path| is_ours(path));
    let mut all: BTreeSet<String> = ours.iter().map(|path| path.display().to_string()).collect();
    // A program does not tell its owner.
    if others.is_empty() {
        all.extend(programs());
    }
    all
}

/// The names of pins and cgroups end in their owner's `<pid>-<start>`.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.rsplit('-').nth(1).and_then(|word| word.parse().ok());
    pid.is_some_and(|pid| {
        STARTED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&pid)
    })
}

/// Programs whose names begin with `sv_`.
///
/// Maps go with their programs and are not listed, because the kernel leaks a
/// program array that is opened (as `bpftool map list` does) at the moment
/// its last user goes.
fn programs() -> Vec<String> {
    let text = process::output("bpftool", ["--json", "prog", "list"]);
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
        .map(|o| format!("program {} {}", o["id"], o["name"]))
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

/// The cgroups that `exec` and `run` have made.
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
            .starts_with("socketvirt-")
        {
            found.push(entry.path());
        } else {
            collect(&entry.path(), found);
        }
    }
}
