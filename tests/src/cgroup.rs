//! A cgroup for the sockets of one test: what other programs of the host may
//! do keeps the sockets of their cgroups off the fast path, and not these.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::session::cgroup_root;

/// A cgroup is busy as long as a process of it is not quite dead.
const GRACE: Duration = Duration::from_secs(10);

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
        let own = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let number = COUNTER.fetch_add(1, Relaxed);
        let path = cgroup_root().join(format!("svt-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        let apart = Self {
            before: cgroup_root().join(own.expect("cgroup v2")),
            path,
        };
        fs::write(apart.path.join(PROCESSES), "0").expect("move to a cgroup");
        apart
    }
}

impl Default for Apart {
    fn default() -> Self {
        Self::new()
    }
}

const PROCESSES: &str = "cgroup.procs";

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
        let deadline = Instant::now() + GRACE;
        let mut below = BTreeSet::new();
        let mut taken = take_away(&self.path, &self.before, &mut below);
        while taken.is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
            taken = take_away(&self.path, &self.before, &mut below);
        }
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
