//! Network namespaces: a scan sees only the sockets of the one that its
//! thread is in.
//!
//! Entering is a property of a thread. One thread that enters each namespace
//! in turn is enough: `setns` and the way back take 1 us, a scan 1 ms. That
//! thread must be nobody else's, so it is a thread of its own
//! ([`NetNamespace::run`]) or one that scans for life ([`NetNamespace::enter`]).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    panic,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

/// Where ip-netns(8) keeps the named ones.
const NAMED: &str = "/run/netns";

/// A network namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel refused.
    #[error("entering a network namespace failed: {0}; CAP_SYS_ADMIN is needed")]
    Enter(Errno),
    /// No thread.
    #[error("starting a thread for a network namespace failed: {0}")]
    Thread(io::Error),
}

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub struct NetNamespace {
    file: File,
    inode: u64,
}

impl NetNamespace {
    /// That of the calling thread.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The one that a path names, in `/proc/<pid>/ns` or `/run/netns`.
    ///
    /// # Errors
    /// When it cannot be opened, or is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // `ip netns` leaves plain files where it could not mount one.
        if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode })
    }

    /// Returns the inode, which tells it from others while it lives.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Moves the calling thread in, for good. What it has open stays where it
    /// is: a socket belongs to the namespace that it was made in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)
    }

    /// Runs `work` inside, in a thread of its own.
    ///
    /// # Errors
    /// When there is no thread or it cannot enter.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
        thread::scope(|scope| {
            thread::Builder::new()
                .spawn_scoped(scope, || self.enter().map(|()| work()))
                .map_err(NamespaceError::Thread)?
                .join()
                .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}

/// The distinct network namespaces of some processes, and the named ones.
///
/// A namespace that is held here does not end when its last process does, so
/// [`NetNamespaces::refresh`] drops those that nobody has any more.
#[derive(Debug, Default)]
pub struct NetNamespaces {
    known: BTreeMap<u64, NetNamespace>,
}

impl NetNamespaces {
    /// Looks at them anew: those of processes, and with `named` also those that
    /// ip-netns(8) keeps. A process that ends meanwhile is left out.
    pub fn refresh(&mut self, pids: impl IntoIterator<Item = u32>, named: bool) {
        let mut known = std::mem::take(&mut self.known);
        let processes = pids
            .into_iter()
            .map(|pid| format!("/proc/{pid}/ns/net").into());
        let named = named.then(self::named).into_iter().flatten();
        for path in processes.chain(named) {
            // Most processes share one, and asking is cheaper than opening.
            let Ok(inode) = fs::metadata::<&Path>(&path).map(|found| found.ino()) else {
                continue;
            };
            if self.known.contains_key(&inode) {
                continue;
            }
            if let Some(same) = known.remove(&inode) {
                self.known.insert(inode, same);
            } else if let Ok(found) = NetNamespace::open(&path) {
                self.known.insert(found.inode, found);
            }
        }
    }

    /// All of them, for the caller to keep.
    pub fn into_all(self) -> impl Iterator<Item = NetNamespace> {
        self.known.into_values()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NetNamespace> {
        self.known.values()
    }
}

/// Where ip-netns(8) keeps the named ones.
pub fn named() -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir(NAMED).into_iter().flatten();
    all.filter_map(Result::ok).map(|entry| entry.path())
}

/// The number of the caller's pid namespace, if `/proc` is of that namespace.
///
/// # Errors
/// When `/proc` shows another one's processes, or none.
pub fn own_pids() -> io::Result<u32> {
    let own = fs::read_link("/proc/self")?;
    if own.as_os_str() != std::process::id().to_string().as_str() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let inode = fs::metadata("/proc/self/ns/pid")?.ino();
    u32::try_from(inode).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`: the outermost pid namespace.
const OUTERMOST_PIDS: u32 = 0xEFFF_FFFC;

/// True when `/proc` shows every process of the host.
#[must_use]
pub fn all_are_visible() -> bool {
    own_pids().is_ok_and(|own| own == OUTERMOST_PIDS)
}

/// The processes of the host, as far as `/proc` shows them.
pub fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        process::{self, Child, Command, Stdio},
    };

    use nix::sched::unshare;

    use super::*;
    use crate::host::testing::{cover, eventually, in_private_mounts};

    /// A new namespace, without a name.
    fn new() -> NetNamespace {
        thread::scope(|scope| {
            let work = || {
                unshare(CloneFlags::CLONE_NEWNET).expect("root is needed");
                NetNamespace::own().unwrap()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    struct Process(Child);

    impl Process {
        fn start() -> Self {
            Self(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap())
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn inodes(all: &NetNamespaces) -> Vec<u64> {
        all.iter().map(NetNamespace::inode).collect()
    }

    #[test]
    fn work_runs_inside_and_the_caller_stays() {
        let own = NetNamespace::own().unwrap();
        let other = new();
        assert_ne!(own.inode(), other.inode());
        let (inside, refused) = other
            .run(|| {
                let inside = NetNamespace::own().unwrap().inode();
                // The loopback device of a new namespace is down.
                (inside, std::net::TcpStream::connect("127.0.0.1:1").is_err())
            })
            .unwrap();
        assert!(refused);
        assert_eq!(inside, other.inode());
        assert_eq!(NetNamespace::own().unwrap().inode(), own.inode());
    }

    #[test]
    fn a_socket_stays_in_the_namespace_it_was_made_in() {
        let other = new();
        let listener = other
            .run(|| TcpListener::bind("127.0.0.1:0"))
            .unwrap()
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let hex = format!("0100007F:{port:04X}");
        let table = || fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        assert!(other.run(table).unwrap().contains(&hex));
    }

    #[test]
    fn a_panic_inside_reaches_the_caller() {
        let own = NetNamespace::own().unwrap();
        let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| own.run(|| panic!("seen"))));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"seen"));
    }

    #[test]
    fn each_is_there_once_and_goes_with_its_last_process() {
        let own = NetNamespace::own().unwrap().inode();
        let other = new();
        let inside = other.run(|| [Process::start(), Process::start()]).unwrap();
        let pids = || inside.iter().map(|process| process.0.id());
        // Hides the names that this machine may have.
        in_private_mounts(|| {
            cover("/run", "tmpfs");
            let mut all = NetNamespaces::default();
            all.refresh(pids().chain([process::id()]), true);
            let mut expected = [own, other.inode()];
            expected.sort_unstable();
            assert_eq!(inodes(&all), expected);
            all.refresh([process::id()], true);
            assert_eq!(inodes(&all), [own]);
            // No such process.
            all.refresh([u32::MAX], true);
            assert!(inodes(&all).is_empty());
        });
    }

    #[test]
    fn named_ones_are_found_and_plain_files_are_not() {
        in_private_mounts(|| {
            cover("/run", "tmpfs");
            fs::create_dir(NAMED).unwrap();
            fs::write("/run/netns/plain", "").unwrap();
            fs::write("/run/netns/named", "").unwrap();
            let other = new();
            let source = format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&other.file)
            );
            let (none, bind) = (None::<&str>, nix::mount::MsFlags::MS_BIND);
            nix::mount::mount(Some(&*source), "/run/netns/named", none, bind, none).unwrap();
            let mut all = NetNamespaces::default();
            all.refresh([], true);
            assert_eq!(inodes(&all), [other.inode()]);
        });
    }

    #[test]
    fn nothing_keeps_a_namespace_that_was_forgotten() {
        let other = new();
        let inode = other.inode();
        let mut all = NetNamespaces::default();
        let process = other.run(Process::start).unwrap();
        all.refresh([process.0.id()], true);
        assert!(inodes(&all).contains(&inode));
        let held = || {
            let links = fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(Result::ok);
            let name = format!("net:[{inode}]");
            links
                .filter(|link| fs::read_link(link.path()).is_ok_and(|to| to == Path::new(&name)))
                .count()
        };
        assert_eq!(held(), 2);
        drop(other);
        drop(process);
        all.refresh([], true);
        assert!(eventually(|| held() == 0));
    }
}
