//! Reaching a cgroup by its id, wherever its folder is.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _},
    path::PathBuf,
};

use nix::errno::Errno;

use super::cgroup;

/// `FILEID_KERNFS`, include/linux/exportfs.h: the handle is the id.
const FILEID_KERNFS: i32 = 0xfe;

/// Stands in a list of processes for one that is not in this pid namespace
/// (`cgroup_procs_show`, kernel/cgroup/cgroup.c).
pub const INVISIBLE: u32 = 0;

/// `struct file_handle` with room for an id.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// Where cgroups are found by their ids: any folder of the mount.
#[derive(Debug)]
pub struct Hierarchy {
    folder: File,
    mount: PathBuf,
}

impl Hierarchy {
    /// That of version 2.
    ///
    /// # Errors
    /// When it is not mounted.
    pub fn open() -> io::Result<Self> {
        let mounts = cgroup::mounts().map_err(io::Error::other)?;
        let mount = mounts.first().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            folder: File::open(&mount.point)?,
            mount: mount.point.clone(),
        })
    }

    /// The processes of the cgroup with this id; [`INVISIBLE`] for each that is
    /// not visible here.
    ///
    /// # Errors
    /// See [`is_gone`]; others when it cannot be listed.
    pub fn procs(&self, id: u64) -> io::Result<Vec<u32>> {
        let folder = self.folder_of(id)?;
        let list = format!("/proc/self/fd/{}/cgroup.procs", folder.as_raw_fd());
        Ok(fs::read_to_string(list)?
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .collect())
    }

    /// The path of the cgroup with this id, from the top.
    ///
    /// # Errors
    /// See [`is_gone`]; others when it cannot be reached.
    pub fn path(&self, id: u64) -> io::Result<String> {
        let folder = self.folder_of(id)?;
        let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
        let below = path.strip_prefix(&self.mount).unwrap_or(&path);
        Ok(format!("/{}", below.display()))
    }

    fn folder_of(&self, id: u64) -> io::Result<File> {
        let mut handle = Handle {
            bytes: 8,
            kind: FILEID_KERNFS,
            id,
        };
        // SAFETY: `Handle` begins as `struct file_handle` does and says how
        // many bytes follow.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.folder.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_DIRECTORY | libc::O_CLOEXEC,
            )
        };
        let fd = Errno::result(fd)?;
        // SAFETY: a descriptor that nobody else has.
        Ok(unsafe { File::from_raw_fd(fd) })
    }
}

/// True when an error of [`Hierarchy::procs`] says that the cgroup is gone.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_the_own_cgroup() {
        let own = cgroup::Cgroup::own().unwrap();
        let listed = Hierarchy::open().unwrap().procs(own.id().unwrap()).unwrap();
        assert!(listed.contains(&std::process::id()), "{listed:?}");
    }

    #[test]
    fn one_that_is_gone() {
        let error = Hierarchy::open()
            .unwrap()
            .procs(u64::from(u32::MAX))
            .unwrap_err();
        assert!(is_gone(&error), "{error}");
    }
}
