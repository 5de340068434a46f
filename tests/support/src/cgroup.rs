//! Cgroups that go away with their guard.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{mounts, owner, wait};

/// The file of a cgroup's processes; writing 0 moves the writer.
pub const PROCESSES: &str = "cgroup.procs";

/// A cgroup is busy until its last process is gone altogether.
pub const GRACE: Duration = Duration::from_mins(2);

/// The mount point of the hierarchy of version 2.
pub fn root() -> Result<PathBuf> {
    mounts::points(&mounts::read()?, "cgroup2", "")
        .next()
        .context("no cgroup v2 hierarchy is mounted: mount one at /sys/fs/cgroup")
}

/// This thread's cgroup in the hierarchy of version 2.
pub fn own() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/thread-self/cgroup").context("reading the own cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(root()?.join(path.context("this process is in no cgroup v2")?))
}

/// This thread's cgroup of a controller of version 1; `None` where version 1 does not have the controller.
pub fn own_of(controller: &str) -> Result<Option<PathBuf>> {
    let Some(root) = mounts::points(&mounts::read()?, "cgroup", controller).next() else {
        return Ok(None);
    };
    let text = fs::read_to_string("/proc/thread-self/cgroup").context("reading the own cgroup")?;
    Ok(Some(root.join(path_of(&text, controller).unwrap_or(""))))
}

/// The path of a controller in a `/proc/<pid>/cgroup`, from the hierarchy's root.
fn path_of<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let found = names.split(',').any(|name| name == controller);
        found.then(|| path.trim_start_matches('/'))
    })
}

/// Removes a cgroup once its last process is gone.
pub fn remove(folder: &Path) -> io::Result<()> {
    let mut taken = Ok(());
    // The condition does not fail.
    let _ = wait::until(GRACE, || {
        taken = fs::remove_dir(folder);
        Ok(taken.is_ok())
    });
    taken
}

/// Ends every process of a cgroup and of those below it.
pub fn kill(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.kill");
    fs::write(&file, "1").with_context(|| format!("writing to {}", file.display()))
}

/// Removes the empty cgroups of `folder`, and those below them, whose names begin with `prefix` and the id of a process
/// that has ended.
pub fn sweep(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner::after(prefix, &name).is_some_and(|pid| !owner::lives(pid)) {
            remove_tree(&entry.path());
        }
    }
}

/// A cgroup that is not empty stays: somebody else's processes are in it.
fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// A cgroup, removed when dropped.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it.
    pub fn make(folder: PathBuf) -> Result<Self> {
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Removes it; who is still in it is what was left behind.
    pub fn remove(self) -> Result<()> {
        let folder = self.0.clone();
        // The drop would wait a second time.
        std::mem::forget(self);
        remove(&folder).with_context(|| format!("{} cannot be removed", folder.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_its_process_group_is_killed_too() -> Result<()> {
        let made = Cgroup::make(own()?.join(format!("svt-kill-{}", std::process::id())))?;
        let join =
            r#"echo 0 > "$0/cgroup.procs" && exec setsid sh -c 'sleep 1000 & exec sleep 1000'"#;
        let mut child = std::process::Command::new("sh")
            .args(["-c", join])
            .arg(made.folder())
            .spawn()?;
        let processes = made.folder().join(PROCESSES);
        let two = || Ok(fs::read_to_string(&processes)?.lines().count() == 2);
        assert!(wait::until(GRACE, two)?);
        kill(made.folder())?;
        child.wait()?;
        made.remove()
    }

    #[test]
    fn a_controller_has_a_path_of_its_own() {
        let text = "9:memory:/a/b\n5:cpu,cpuacct:/c\n0::/d\n";
        assert_eq!(path_of(text, "memory"), Some("a/b"));
        assert_eq!(path_of(text, "cpuacct"), Some("c"));
        assert_eq!(path_of(text, "pids"), None);
    }
}
