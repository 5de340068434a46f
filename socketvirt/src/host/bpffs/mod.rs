//! Folders of pinned objects in the BPF file system.

use std::{
    fs::{self, DirBuilder},
    io, mem,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    mount::{MsFlags, mount},
    sys::statfs::BPF_FS_MAGIC,
    unistd::geteuid,
};

use super::{
    mounts::{self, Mount},
    owner::{self, Lock},
};

/// Where systemd, bpftool and everybody else mounts it.
pub const USUAL: &str = "/sys/fs/bpf";

/// Holds the folders of this program.
const OURS: &str = "socketvirt";

/// The name of the folder that outlives its owner, who has locked it.
pub const HOST: &str = "host";

/// Begins the name of a folder that is not complete.
const UNFINISHED: &str = "new-";

/// Between two attempts to lock a folder.
const PAUSE: Duration = Duration::from_millis(5);

/// Attempts to make a folder while others remove the empty one around it, and to lock one.
const ATTEMPTS: u32 = 10;

/// Pinned objects could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no BPF file system and none could be mounted.
    #[error(
        "mounting the BPF file system on {USUAL} failed: {0}; mount it by hand with \
         `mount -t bpf bpf {USUAL}` (in a container: pass the host's in)"
    )]
    Mount(Errno),

    /// The list of mounts could not be read.
    #[error("looking for the BPF file system failed: {0}; is /proc mounted?")]
    Mounts(io::Error),

    /// The folder around ours belongs to somebody else, who could exchange
    /// what is in it.
    #[error("{path} is not a folder of this user; remove it and start again")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },

    /// The name cannot be used.
    #[error(
        "{0:?} cannot name pinned objects: use letters, digits, - and _, and not `new-` in front"
    )]
    Name(String),

    /// Another process works with it.
    #[error("a data path is steered {} already: end that agent first", by(*.0))]
    Held(Option<u32>),

    /// The file system refused.
    #[error("{attempt} {path} failed: {source}; check that the BPF file system is writable")]
    Refused {
        /// The attempt.
        attempt: &'static str,
        /// The folder or object.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl PinError {
    fn refused(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Refused {
            attempt,
            path,
            source,
        }
    }
}

/// The BPF file system, when it is mounted.
///
/// Each mount is a file system of its own, so the usual place comes first:
/// that is where another agent looks. Where the caller has none, that of
/// whoever started it: a new one would go with the caller's mounts, and with it the
/// sockets' queues.
///
/// # Errors
/// [`PinError::Mounts`].
pub fn mounted() -> Result<Option<PathBuf>, PinError> {
    Ok(find()?.map(|mount| mount.point))
}

/// [`mounted`], with all that is known of the mount.
///
/// # Errors
/// [`PinError::Mounts`].
pub fn find() -> Result<Option<Mount>, PinError> {
    let found = mounts::of_kind("bpf", BPF_FS_MAGIC).map_err(PinError::Mounts)?;
    let usual = |mount: &Mount| mount.point == Path::new(USUAL);
    let first = found.iter().find(|mount| usual(mount)).or(found.first());
    Ok(first.cloned().or_else(|| mounts::lent("bpf", BPF_FS_MAGIC)))
}

/// The BPF file system; it is mounted when it is not.
///
/// # Errors
/// When it cannot be mounted.
pub fn mount_point() -> Result<PathBuf, PinError> {
    if let Some(found) = mounted()? {
        return Ok(found);
    }
    mount_usual()
}

/// For root alone, as systemd mounts it.
fn mount_usual() -> Result<PathBuf, PinError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), USUAL, Some("bpf"), flags, Some("mode=0700")).map_err(PinError::Mount)?;
    Ok(USUAL.into())
}

/// A folder of pinned objects. It stays when this value goes; see
/// [`PinDir::remove`].
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
    name: String,
    /// Of a folder that this process made, or has taken over.
    lock: Option<Lock>,
}

impl PinDir {
    /// Makes a folder for the calling process, aside, under another name than
    /// the one it will have, until [`PinDir::publish`].
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create(name: &str) -> Result<Self, PinError> {
        // A dot is refused by the kernel itself (bpf_lookup, kernel/bpf/inode.c).
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.starts_with(UNFINISHED) || !name.bytes().all(fits) {
            return Err(PinError::Name(name.to_owned()));
        }
        let ours = mount_point()?.join(OURS);
        let path = ours.join(format!("{UNFINISHED}{name}"));
        for attempt in 1.. {
            make(&ours).or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(PinError::refused("making", &ours)(error)),
            })?;
            let around = fs::symlink_metadata(&ours);
            if around.is_ok_and(|found| !found.is_dir() || found.uid() != geteuid().as_raw()) {
                return Err(PinError::Foreign { path: ours });
            }
            match make(&path) {
                Ok(()) => break,
                // Another agent removed the folder around it, then empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(PinError::refused("making", &path)(error)),
            }
        }
        let mut made = Self {
            path,
            name: name.to_owned(),
            lock: None,
        };
        made.lock()?;
        Ok(made)
    }

    /// Gives a complete folder its name, at once; objects in it stay.
    ///
    /// # Errors
    /// When there is a folder of this name with something in it.
    pub fn publish(&mut self) -> Result<(), PinError> {
        let path = self.path.with_file_name(&self.name);
        fs::rename(&self.path, &path).map_err(PinError::refused("naming", &path))?;
        self.path = path;
        Ok(())
    }

    /// The folders that there are, also unfinished ones.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn existing() -> Result<Vec<Self>, PinError> {
        let Some(root) = mounted()? else {
            return Ok(Vec::new());
        };
        let ours = root.join(OURS);
        let entries = match fs::read_dir(&ours) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PinError::refused("listing", &ours)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(PinError::refused("listing", &ours))?;
            let Ok(full) = entry.file_name().into_string() else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(Self {
                    path: entry.path(),
                    name: full.strip_prefix(UNFINISHED).unwrap_or(&full).to_owned(),
                    lock: None,
                });
            }
        }
        Ok(found)
    }

    /// Where objects are pinned. [`PinDir::publish`] changes it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it was, or will be, published under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True while somebody still works with this folder, and when its name tells
    /// no owner.
    #[must_use]
    pub fn owner_alive(&self) -> bool {
        if self.outlives_owner() {
            return Lock::is_held(&self.path);
        }
        owner::is_in_use(&self.name, &self.path)
    }

    /// True of the folder of the host, also while it is not complete.
    #[must_use]
    pub fn outlives_owner(&self) -> bool {
        self.name == HOST
    }

    /// True once it was published.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.path.ends_with(&self.name)
    }

    /// Locks it for the calling process.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&mut self) -> Result<(), PinError> {
        for attempt in 1.. {
            match Lock::take(&self.path) {
                Ok(lock) if lock.is_of(&self.path) => {
                    self.lock = Some(lock);
                    break;
                }
                // An agent has put another folder in its place meanwhile.
                Ok(_) => {}
                // Who only looks whether it is locked holds the lock for a moment.
                Err(_) if attempt < ATTEMPTS => thread::sleep(PAUSE),
                Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                    return Err(PinError::Held(Lock::holder(&self.path)));
                }
                Err(source) => return Err(PinError::refused("locking", &self.path)(source)),
            }
        }
        Ok(())
    }

    /// Takes the name of a published folder, which takes this one's, at once: whoever
    /// looks for the name finds the one or the other.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn replace(&mut self, other: &mut Self) -> Result<(), PinError> {
        let flags = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, &self.path, AT_FDCWD, &other.path, flags)
            .map_err(io::Error::from)
            .map_err(PinError::refused("naming", &other.path))?;
        mem::swap(&mut self.path, &mut other.path);
        Ok(())
    }

    /// Gives it a name of the calling process, so that another can have its own.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn set_aside(&mut self) -> Result<(), PinError> {
        self.name = owner::name("old");
        self.publish()
    }

    /// Unpins one object, if it is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove_object(&self, object: &str) -> Result<(), PinError> {
        let path = self.path.join(object);
        there(fs::remove_file(&path)).map_err(PinError::refused("unpinning", &path))
    }

    /// Unpins everything in the folder and removes it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> Result<(), PinError> {
        there(fs::remove_dir_all(&self.path)).map_err(PinError::refused("removing", &self.path))?;
        // The keeper of a table has locked it before it pins anything there.
        if let Some(ours) = self.path.parent().filter(|ours| !Lock::is_held(ours)) {
            // Fails while others have folders in it, which is as it should be.
            let _ = fs::remove_dir(ours);
        }
        Ok(())
    }
}

/// Names who holds a lock, as far as that is known.
#[must_use]
pub fn by(holder: Option<u32>) -> String {
    holder.map_or_else(
        || "by another process".into(),
        |pid| format!("by pid {pid}"),
    )
}

/// For root alone: who can open a pinned map can change it.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// A file that is gone need not be removed.
fn there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
