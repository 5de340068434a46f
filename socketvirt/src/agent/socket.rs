//! The control socket as a file: who may reach it, and whose it is.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    unistd::{Gid, Group, chown, geteuid},
};

/// A control socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its path.
    #[error(
        "the control socket {0} cannot be made: its path must begin with / and have at most 100 bytes"
    )]
    Path(PathBuf),
    /// Another agent.
    #[error(
        "an agent answers at {0} already; end it first, or choose another path with `--admin-socket`"
    )]
    Live(PathBuf),
    /// Something else.
    #[error(
        "{0} is there and is no socket; remove it, or choose another path with `--admin-socket`"
    )]
    NotSocket(PathBuf),
    /// A folder in which others can put files.
    #[error(
        "the control socket cannot be made in {0}: others than root and this user can write there; \
         choose a folder of its own with `--admin-socket`"
    )]
    Open(PathBuf),
    /// A group.
    #[error("there is no group {0}; `--admin-group` takes a name or a number")]
    Group(String),
    /// The kernel refused.
    #[error(
        "{attempt} {path} failed: {source}; choose another path with `--admin-socket`, or do without \
         the socket by `--no-admin`"
    )]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

fn refused<E: Into<io::Error>>(
    attempt: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> SocketError {
    move |source| SocketError::Refused {
        attempt,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Finds a group by its name or number.
///
/// # Errors
/// When there is none.
pub fn group(word: &str) -> Result<Gid, SocketError> {
    if let Ok(number) = word.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(word).ok().flatten();
    found
        .map(|group| group.gid)
        .ok_or_else(|| SocketError::Group(word.to_owned()))
}

/// A socket that is listened on. Dropped, it is taken away.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    inode: u64,
    /// The folder, when it was made for the socket.
    folder: Option<PathBuf>,
}

impl Bound {
    /// Makes the socket and listens on it. Members of `group` may connect, beside
    /// root and the calling user. The socket of a dead agent is replaced.
    ///
    /// # Errors
    /// When that is not possible, or an agent lives there. Nothing is left then.
    pub fn make(path: &Path, group: Option<Gid>) -> Result<(UnixListener, Self), SocketError> {
        let wrong = || SocketError::Path(path.to_owned());
        let folder = path.parent().ok_or_else(wrong)?;
        let name = path.file_name().ok_or_else(wrong)?.to_string_lossy();
        // Beside it, and then in its place in one step: nobody meets it unfinished.
        let beside = folder.join(format!(".{name}-{}", std::process::id()));
        if !path.is_absolute() || UnixAddr::new(&beside).is_err() {
            return Err(wrong());
        }
        let made = make_folder(folder, group)?;
        let bound = Self {
            path: beside.clone(),
            inode: 0,
            folder: made.then(|| folder.to_owned()),
        };
        unless_live(path)?;
        bound.listen(path, group)
    }

    fn listen(
        mut self,
        path: &Path,
        group: Option<Gid>,
    ) -> Result<(UnixListener, Self), SocketError> {
        // Of a process that had this number before.
        let _ = fs::remove_file(&self.path);
        let beside = self.path.clone();
        let listener =
            UnixListener::bind(&beside).map_err(refused("making the control socket", path))?;
        let found = fs::symlink_metadata(&beside);
        self.inode = found
            .map_err(refused("looking at the control socket", path))?
            .ino();
        if let Some(group) = group {
            chown(&beside, None, Some(group))
                .map_err(refused("giving the group the control socket", path))?;
        }
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o660))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::rename(&beside, path))
            .map_err(refused("putting in place the control socket", path))?;
        path.clone_into(&mut self.path);
        Ok((listener, self))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Not that of an agent that has taken the path over.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(folder) = &self.folder {
            // Somebody may have put something else there.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes the folder, with those above it. Returns false when it is there.
fn make_folder(folder: &Path, group: Option<Gid>) -> Result<bool, SocketError> {
    let Ok(found) = fs::metadata(folder) else {
        let mode = if group.is_some() { 0o750 } else { 0o700 };
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above).map_err(refused("making the folder", above))?;
        }
        DirBuilder::new()
            .mode(mode)
            .create(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(mode)))
            .and_then(|()| group.map_or(Ok(()), |group| Ok(chown(folder, None, Some(group))?)))
            .map_err(refused("making the folder", folder))?;
        return Ok(true);
    };
    let ours = [0, geteuid().as_raw()].contains(&found.uid());
    if !ours || found.mode() & 0o002 != 0 {
        return Err(SocketError::Open(folder.to_owned()));
    }
    Ok(false)
}

/// Fails when somebody listens at `path`, or something else than a socket is
/// there.
fn unless_live(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("looking at", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(refused("making a socket for", path))?;
    let address = UnixAddr::new(path).map_err(refused("naming", path))?;
    match connect(client.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(()),
        // A queue that is full is somebody's.
        Ok(()) | Err(Errno::EAGAIN) => Err(SocketError::Live(path.to_owned())),
        Err(error) => Err(refused("connecting to", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn it_is_root_s_alone_and_goes_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/admin.sock");
        let (_listener, bound) = Bound::make(&path, None).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn a_group_may_reach_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/admin.sock");
        let group = nix::unistd::getegid();
        let (_listener, _bound) = Bound::make(&path, Some(group)).unwrap();
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        assert_eq!(fs::metadata(&path).unwrap().gid(), group.as_raw());
        assert!(super::group("no such group").is_err());
    }

    #[test]
    fn a_live_one_is_refused_and_a_dead_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (listener, bound) = Bound::make(&path, None).unwrap();
        let error = Bound::make(&path, None).unwrap_err();
        assert!(matches!(error, SocketError::Live(_)), "{error}");
        // The one that lives is as it was.
        UnixStream::connect(&path).unwrap();
        // A killed agent takes nothing away.
        drop(listener);
        std::mem::forget(bound);
        assert!(path.exists());
        let (_listener, bound) = Bound::make(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "mine").unwrap();
        let error = Bound::make(&path, None).unwrap_err();
        assert!(matches!(error, SocketError::NotSocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_folder_of_everybody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let error = Bound::make(&folder.path().join("admin.sock"), None).unwrap_err();
        assert!(matches!(error, SocketError::Open(_)), "{error}");
        let long = format!("/{}", "x".repeat(107));
        for path in ["admin.sock", &long, "/"] {
            let error = Bound::make(Path::new(path), None).unwrap_err();
            assert!(matches!(error, SocketError::Path(_)), "{path}: {error}");
        }
    }
}
