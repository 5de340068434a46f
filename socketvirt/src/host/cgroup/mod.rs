//! Cgroups of version 2: the kernel runs a `sock_ops` program for the sockets
//! of the cgroup that it is attached to and of those below, and for no others.

mod inside;

use std::{
    fs::{self, File},
    io, iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use nix::sys::statfs::CGROUP2_SUPER_MAGIC;

use super::{
    mounts::{self, Mount},
    owner::{self, Lock, Owner},
};

/// Begins the names of the cgroups of this program.
const PREFIX: &str = "socketvirt-";

/// The depth to which leftovers are looked for. Kubernetes nests about six deep.
const MAX_DEPTH: u32 = 16;

/// Rounds of moving processes out, each of which moves all that were there
/// when it began; more are needed only against processes that fork all along.
const MAX_ROUNDS: u32 = 1_000;

/// A cgroup could not be found, made, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Version 2 is not mounted.
    #[error(
        "cgroup v2 is mounted neither here nor where this program was started from; mount it with \
         `mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2` (beside v1 it needs no \
         controllers)"
    )]
    NotMounted,

    /// The caller's own cgroup is not below any mount.
    #[error(
        "the own cgroup {0} is not below any mount of cgroup v2: the process was started outside \
         of the cgroup namespace that it sees; start it from a shell inside"
    )]
    Unreachable(PathBuf),

    /// The kernel refused.
    #[error("{attempt} {path} failed: {source}{hint}")]
    Refused {
        /// The attempt.
        attempt: &'static str,
        /// The cgroup or the file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
        /// The operator's next step.
        hint: &'static str,
    },

    /// A new cgroup that cannot hold processes.
    #[error(
        "a cgroup in {parent} would be of type `{kind}` and could hold no processes; start from a \
         cgroup that is not threaded"
    )]
    Type {
        /// Where it was made.
        parent: PathBuf,
        /// Its `cgroup.type`.
        kind: String,
    },

    /// Processes that cannot be moved: new ones all along, or ones that are
    /// not visible in this pid namespace.
    #[error("{0} still holds processes that cannot be moved out; end them and start again")]
    NotEmpty(PathBuf),

    /// The topmost cgroup has no parent.
    #[error("{0} has no parent cgroup that can be reached")]
    NoParent(PathBuf),
}

fn refused(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| {
        let hint = match source.raw_os_error() {
            Some(libc::EROFS) => {
                "; cgroup v2 is read-only here, a container must be given it to write"
            }
            Some(libc::EACCES | libc::EPERM) => {
                "; root with CAP_DAC_OVERRIDE, or a delegated cgroup, is needed"
            }
            Some(libc::EAGAIN) => "; cgroup.max.depth or cgroup.max.descendants is reached",
            Some(libc::EBUSY) => "; it holds processes or cgroups, or hands controllers down",
            Some(libc::EOPNOTSUPP) => "; it is threaded",
            _ => "",
        };
        CgroupError::Refused {
            attempt,
            path,
            source,
            hint,
        }
    }
}

/// The mounts of version 2; those that show all of it first. Where the caller has
/// none, one of whoever started it. None is made: a mount without the options of the one
/// that there is takes them from the whole host (`apply_cgroup_root_flags`,
/// `kernel/cgroup/cgroup.c`).
///
/// # Errors
/// When there is none.
pub fn mounts() -> Result<Vec<Mount>, CgroupError> {
    let mut found = mounts::of_kind("cgroup2", CGROUP2_SUPER_MAGIC)
        .map_err(refused("reading the mounts for", Path::new("cgroup2")))?;
    if found.is_empty() {
        found.extend(mounts::lent("cgroup2", CGROUP2_SUPER_MAGIC));
    }
    found.sort_by_key(inside::order);
    if found.is_empty() {
        return Err(CgroupError::NotMounted);
    }
    Ok(found)
}

/// The path of a process's cgroup, as `/proc` shows it.
fn path_of(name: &str) -> Result<PathBuf, CgroupError> {
    let file = Path::new("/proc").join(name).join("cgroup");
    let text = fs::read_to_string(&file).map_err(refused("reading", &file))?;
    // Version 2 is always hierarchy 0 and has no controllers listed.
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    own.map(PathBuf::from).ok_or(CgroupError::NotMounted)
}

/// The folder of a cgroup above the root of the caller's cgroup namespace: `/..` is the pod of
/// a container. None for other paths.
///
/// # Errors
/// When there is no such folder, or the own cgroup cannot be reached.
pub fn above(asked: &Path) -> Result<Option<PathBuf>, CgroupError> {
    if !asked.starts_with("/..") {
        return Ok(None);
    }
    let own = Cgroup::own()?;
    inside::relative(&own.path, &path_of("self")?, asked).map(Some)
}

/// A cgroup. It stays when this value goes; see [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Of a cgroup that this process made for a run.
    lock: Option<Lock>,
}

impl Cgroup {
    fn at(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// That of the calling process.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn own() -> Result<Self, CgroupError> {
        Self::of_process("self")
    }

    /// That of a process, given as its name in `/proc`.
    ///
    /// # Errors
    /// When it cannot be reached, or there is no such process.
    pub fn of_process(name: &str) -> Result<Self, CgroupError> {
        let own = path_of(name)?;
        let pid = name.parse().unwrap_or_else(|_| process::id());
        mounts()?
            .iter()
            .find_map(|mount| match own.strip_prefix(&mount.root) {
                Ok(below) => Some(mount.point.join(below)),
                Err(_) => inside::of_member(mount, &own, pid),
            })
            .map(Self::at)
            .ok_or(CgroupError::Unreachable(own))
    }

    /// Makes a cgroup for a run, below the caller's own, so that its limits
    /// hold there too. Where that cannot have one (it is threaded, at a limit
    /// or being removed), the next one up that can.
    ///
    /// # Errors
    /// The refusal of the own cgroup, when all those above it refuse too.
    pub fn create(name: &str) -> Result<Self, CgroupError> {
        let own = Self::own()?;
        let mut first = None;
        for parent in iter::successors(Some(own), |below| below.parent().ok()) {
            match parent.create_child(&format!("{PREFIX}{name}")) {
                Ok(mut made) => {
                    let lock = Lock::take(&made.path);
                    made.lock = Some(lock.map_err(refused("locking the cgroup", &made.path))?);
                    return Ok(made);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(CgroupError::NotMounted))
    }

    /// Makes a cgroup in this one, which can hold processes.
    ///
    /// # Errors
    /// When the kernel refuses, or it could not hold processes.
    pub fn create_child(&self, name: &str) -> Result<Self, CgroupError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(refused("making the cgroup", &path))?;
        let made = Self::at(path);
        // Below a threaded cgroup it is `domain invalid`.
        match made.read("cgroup.type") {
            Ok(kind) if kind.trim_end() != "domain" => {
                made.remove()?;
                Err(CgroupError::Type {
                    parent: self.path.clone(),
                    kind: kind.trim_end().to_owned(),
                })
            }
            _ => Ok(made),
        }
    }

    /// The cgroups of all runs, wherever they are, inner ones first.
    ///
    /// # Errors
    /// When version 2 is not mounted.
    pub fn existing() -> Result<Vec<Self>, CgroupError> {
        let mut found = Vec::new();
        if let Some(mount) = mounts()?.first() {
            collect(&mount.point, MAX_DEPTH, &mut found);
        }
        Ok(found)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it was made with by [`Cgroup::create`].
    #[must_use]
    pub fn name(&self) -> &str {
        let full = self.path.file_name().and_then(|name| name.to_str());
        full.map_or("", |full| full.strip_prefix(PREFIX).unwrap_or(full))
    }

    /// True while somebody still works with it, and when its name tells no owner.
    #[must_use]
    pub fn owner_alive(&self) -> bool {
        owner::is_in_use(self.name(), &self.path)
    }

    /// The cgroup that this one is in.
    ///
    /// # Errors
    /// [`CgroupError::NoParent`] at the top of what is mounted.
    pub fn parent(&self) -> Result<Self, CgroupError> {
        self.path
            .parent()
            .filter(|parent| mounts::is_of(parent, CGROUP2_SUPER_MAGIC))
            .map(|parent| Self::at(parent.to_owned()))
            .ok_or_else(|| CgroupError::NoParent(self.path.clone()))
    }

    /// Opens it, to attach programs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(&self) -> Result<File, CgroupError> {
        File::open(&self.path).map_err(refused("opening the cgroup", &self.path))
    }

    /// Its id: the inode number of its folder, by which sockets know it too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn id(&self) -> Result<u64, CgroupError> {
        let metadata =
            fs::metadata(&self.path).map_err(refused("looking at the cgroup", &self.path))?;
        Ok(metadata.ino())
    }

    /// The file that lists its processes, and moves those in that are written
    /// to it.
    #[must_use]
    pub fn procs_file(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// The processes in it, without those below. One that is not visible in
    /// this pid namespace is not among them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn procs(&self) -> Result<Vec<u32>, CgroupError> {
        let pids = self.read("cgroup.procs")?;
        // The kernel shows 0 for what is not visible; written back, it would
        // mean the writer.
        Ok(pids
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| *pid != 0)
            .collect())
    }

    /// Moves a process in. One that has ended is not an error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn join(&self, pid: u32) -> Result<(), CgroupError> {
        let file = self.procs_file();
        match fs::write(&file, pid.to_string()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other.map_err(refused("moving a process by", &file)),
        }
    }

    /// Moves the calling process in, until the guard goes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<Inside, CgroupError> {
        let back = Self::own()?;
        self.join(process::id())?;
        Ok(Inside { back })
    }

    /// Moves every process of this cgroup, not of those below, to another.
    ///
    /// # Errors
    /// When the kernel refuses, or processes remain that cannot be moved.
    pub fn move_all_to(&self, to: &Self) -> Result<(), CgroupError> {
        for _ in 0..MAX_ROUNDS {
            let pids = self.procs()?;
            if pids.is_empty() {
                break;
            }
            // A child that one of them forks meanwhile is in the next round.
            for pid in pids {
                to.join(pid)?;
            }
        }
        if self.read("cgroup.procs")?.is_empty() {
            Ok(())
        } else {
            Err(CgroupError::NotEmpty(self.path.clone()))
        }
    }

    /// True when there is a process in it or below.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        let events = self.read("cgroup.events")?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// Removes it, and empty ones below that its programs have made.
    ///
    /// # Errors
    /// When there are processes in it or below.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for below in children(&self.path) {
            Self::at(below).remove()?;
        }
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(refused("removing the cgroup", &self.path)),
        }
    }

    fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        fs::read_to_string(&path).map_err(refused("reading", &path))
    }
}

/// While it lives, the calling process is in another cgroup than before.
#[derive(Debug)]
pub struct Inside {
    back: Cgroup,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It came from there. Should the way back be closed by now, the
        // process is moved on with all others before the cgroup is removed.
        let _ = self.back.join(process::id());
    }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn collect(path: &Path, depth: u32, found: &mut Vec<Cgroup>) {
    for path in children(path) {
        if depth > 1 {
            collect(&path, depth - 1, found);
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let own = name.and_then(|name| name.strip_prefix(PREFIX));
        if own.is_some_and(|name| Owner::of(name).is_some()) {
            found.push(Cgroup::at(path));
        }
    }
}

#[cfg(test)]
mod tests;
