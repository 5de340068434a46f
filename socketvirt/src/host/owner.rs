//! Whose an object of the kernel is, told by its name.
//!
//! Pinned objects and cgroups outlive the process that made them. Their names
//! end in `<pid>-<start>`; the start time tells a process from a later one
//! that was given the same pid. A pid says nothing in another pid namespace,
//! say of a container that is given the host's `/sys`, so the owner also holds
//! a lock on the object's folder, which the kernel drops when the owner ends.

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process,
};

/// A process: its pid and when it started, in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    start: u64,
}

/// A name for an object of this process: `<kind>-<pid>-<start>`.
#[must_use]
pub fn name(kind: &str) -> String {
    format!("{kind}-{}", Owner::this_process())
}

impl Owner {
    /// The calling process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = process::id();
        let start = super::process::stat(pid).map_or(0, |found| found.starttime);
        Self { pid, start }
    }

    /// The owner that the end of `name` tells.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut words = name.rsplitn(3, '-');
        let start = words.next()?.parse().ok()?;
        let pid = words.next()?.parse().ok()?;
        words.next()?;
        Some(Self { pid, start })
    }

    /// True when the process still runs. A zombie does not: nothing of it is
    /// left but its exit status.
    ///
    /// It is looked for by its pid in this pid namespace.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match super::process::stat(self.pid) {
            Ok(found) => found.starttime == self.start && !matches!(found.state, 'Z' | 'X'),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// The lock of an owner on a folder, for as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    folder: File,
}

impl Lock {
    /// Locks a folder of the calling process.
    ///
    /// # Errors
    /// When the kernel refuses, or another process has locked it.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let folder = File::open(folder)?;
        folder.try_lock()?;
        Ok(Self { folder })
    }

    /// True when this is the lock of the folder that is there now.
    #[must_use]
    pub fn is_of(&self, folder: &Path) -> bool {
        let locked = self.folder.metadata();
        let found = folder.metadata();
        matches!((locked, found), (Ok(locked), Ok(found)) if locked.ino() == found.ino())
    }

    /// The process that holds the lock of this folder, if it can be told.
    #[must_use]
    pub fn holder(folder: &Path) -> Option<u32> {
        let inode = folder.metadata().ok()?.ino().to_string();
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            // `1: FLOCK  ADVISORY  WRITE 3144 00:2e:9 0 EOF`
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else {
                return None;
            };
            let found = file.rsplit(':').next()? == inode;
            found.then(|| pid.parse().ok().filter(|pid| *pid != 0))?
        })
    }

    /// True when a process holds the lock of this folder.
    #[must_use]
    pub fn is_held(folder: &Path) -> bool {
        File::open(folder)
            .is_ok_and(|folder| matches!(folder.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// True when somebody still works with the object called `name`, whose folder
/// this is. An object whose name tells no owner is meant to outlive every
/// process, so this is true for it.
#[must_use]
pub fn is_in_use(name: &str, folder: &Path) -> bool {
    Owner::of(name).is_none_or(|owner| owner.is_alive() || Lock::is_held(folder))
}

impl fmt::Display for Owner {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}-{}", self.pid, self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        let own = Owner::this_process();
        assert_ne!(own.start, 0);
        assert_eq!(Owner::of(&name("exec")), Some(own));
        assert_eq!(
            Owner::of("new-exec-12-34"),
            Some(Owner { pid: 12, start: 34 })
        );
        for other in [
            "exec",
            "exec-12",
            "12-34",
            "exec-12-x",
            "exec-x-34",
            "exec--",
        ] {
            assert_eq!(Owner::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_reused_pid_is_not_the_owner() {
        let own = Owner::this_process();
        assert!(own.is_alive());
        let earlier = Owner {
            start: own.start - 1,
            ..own
        };
        assert!(!earlier.is_alive());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let owner = Owner {
            pid: child.id(),
            start: crate::host::process::stat(child.id()).unwrap().starttime,
        };
        assert!(owner.is_alive());
        drop(child.stdin.take());
        // Waits for the end and leaves the zombie.
        let id = nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(child.id().cast_signed()));
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(id, flags).unwrap();
        assert!(!owner.is_alive());
        child.wait().unwrap();
        assert!(!owner.is_alive());
    }
}
