//! The surroundings of every test: the lock that keeps those apart that look at the
//! whole host, and the check that nothing is left behind.

use std::{
    collections::BTreeSet,
    fs::File,
    path::PathBuf,
    process,
    sync::{Mutex, PoisonError},
    thread,
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{Pid, Uid},
};
use test_support::{
    cgroup,
    leftovers::{GRACE, Trace, Traces},
    lock, wait,
};

/// Where the agent pins.
pub const PINS: &str = "/sys/fs/bpf/socketvirt";

/// Where `socketvirt run` pins its data path.
pub const PINS_OF_HOST: &str = "/sys/fs/bpf/socketvirt/host";

/// A test at work. Dropped, it fails the test when anything of ours that was
/// not there before is there now.
#[derive(Debug)]
pub struct Session {
    before: BTreeSet<Trace>,
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
        let file = File::create(lock::PATH).expect("the lock file");
        let lock = Flock::lock(file, how)
            .map_err(|(_, e)| e)
            .expect("the lock");
        Self {
            before: objects(),
            _lock: lock,
        }
    }

    /// Lists what is here of ours that was not here when the session started.
    pub fn left(&self) -> Vec<Trace> {
        objects().difference(&self.before).cloned().collect()
    }

    /// Waits until nothing is left.
    #[track_caller]
    pub fn clean(&self) {
        let mut left = Vec::new();
        let clean = wait::until(GRACE, || {
            left = self.left();
            Ok(left.is_empty())
        });
        assert!(clean.expect("no error"), "left behind: {left:#?}");
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
fn objects() -> BTreeSet<Trace> {
    let ours = |pid: u32| {
        let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        i32::try_from(pid).is_ok_and(|pid| started.contains(&pid)) || pid == process::id()
    };
    Traces::of(&ours).expect("what is in the kernel").found
}

/// The mount point of the cgroup v2 hierarchy.
pub fn cgroup_root() -> PathBuf {
    cgroup::root().expect("a cgroup v2 mount")
}
