//! The powers of a process's code, by the files that it has mapped.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::host::{
    executable::{self, ExecutableError},
    ldso::{self, Loading},
};

/// A file as it is, whatever its names: device, inode, and when it was last
/// changed, because an inode is used again.
pub type FileId = (u64, u64, i64, i64);

/// The executables and libraries that are known.
#[derive(Default)]
pub struct Files {
    splice: HashMap<FileId, bool>,
    sockets: HashMap<FileId, bool>,
    /// The time that it took to read those that were not known.
    reading: Duration,
}

/// A question about a file.
type Rule = fn(&Path) -> Result<bool, ExecutableError>;

impl Files {
    /// True when a process with the code of these files can splice from a socket:
    /// a tool that only splices between pipes is no danger to its neighbours.
    pub fn may_splice_sockets(&mut self, files: &[(FileId, PathBuf)]) -> bool {
        let any = |known: &mut HashMap<_, _>, rule: Rule, reading: &mut Duration| {
            files
                .iter()
                .any(|(id, path)| judged(known, *id, path, rule, reading))
        };
        any(&mut self.splice, executable::may_splice, &mut self.reading)
            && any(
                &mut self.sockets,
                executable::may_have_sockets,
                &mut self.reading,
            )
    }

    /// The time that first reads of files took.
    #[must_use]
    pub fn reading(&self) -> Duration {
        self.reading
    }
}

/// Asks each file once. What cannot be read is taken to be dangerous, unless
/// its process has ended.
fn judged(
    known: &mut HashMap<FileId, bool>,
    id: FileId,
    path: &Path,
    rule: Rule,
    reading: &mut Duration,
) -> bool {
    if let Some(known) = known.get(&id) {
        return *known;
    }
    let began = Instant::now();
    let judged = match rule(path) {
        Ok(judged) => judged,
        // Of the file itself nothing is known then.
        Err(ExecutableError::Open { .. }) if !path.exists() => return false,
        Err(_) => true,
    };
    known.insert(id, judged);
    *reading += began.elapsed();
    judged
}

/// Names the file at a path, through links.
///
/// # Errors
/// When there is none, or it may not be inspected.
pub fn id_of(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|found| (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// True when an error of a file in `/proc` says that its process has ended;
/// others say that it may not be inspected.
#[must_use]
pub fn has_ended(error: &io::Error) -> bool {
    // ESRCH: it ended while its file was open.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The files that a process has mapped as code, by paths that hold whatever
/// the root directory of the process is (proc(5), `map_files`).
///
/// # Errors
/// When the process has ended, or may not be inspected.
pub fn code_of(pid: u32) -> io::Result<Vec<(FileId, PathBuf)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(code(&maps)
        .map(|range| PathBuf::from(format!("/proc/{pid}/map_files/{range}")))
        .filter_map(|path| id_of(&path).ok().map(|id| (id, path)))
        .collect())
}

/// The address ranges of `/proc/<pid>/maps` that are code of a file.
///
/// Programs choose the names in there, and `procfs` panics at a short one that
/// begins with `/SYSV`. So no name is read here.
fn code(maps: &str) -> impl Iterator<Item = &str> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let range = words.next()?;
        let is_code = words.next()?.contains('x');
        // Offset, device, inode: 0 for memory that is of no file.
        let inode = words.nth(2)?;
        (is_code && inode != "0").then_some(range)
    })
}

/// True when a process has loaded its libraries. One that keeps no record of its
/// loading counts as loaded after `patience`, as long as it has been known for
/// `age`.
#[must_use]
pub fn has_loaded(pid: u32, age: Duration, patience: Duration) -> bool {
    match ldso::loading(pid) {
        Ok(Loading::Done) => true,
        Ok(Loading::UnderWay) => false,
        Ok(Loading::Unknown) => age >= patience,
        Err(_) => !Path::new(&format!("/proc/{pid}/exe")).exists() || age >= patience,
    }
}

/// Counts the threads of a process; 0 when it has ended.
#[must_use]
pub fn threads(pid: u32) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map_or(0, |tasks| u32::try_from(tasks.count()).unwrap_or(u32::MAX))
}

/// True when a process has an `io_uring` by now; those that are made later are
/// told by the kernel side.
#[must_use]
pub fn has_ring(pid: u32) -> bool {
    open(pid).any(|(_, target)| target.as_os_str() == "anon_inode:[io_uring]")
}

/// True when a process has a map of sockets: it may put one of its own in there,
/// which an enrolled socket refuses with `EBUSY` (`sock_map_link`,
/// `net/core/sock_map.c`).
#[must_use]
pub fn has_socket_map(pid: u32) -> bool {
    open(pid)
        .filter(|(_, target)| target.as_os_str() == "anon_inode:bpf-map")
        .filter_map(|(fd, _)| {
            let info = format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy());
            fs::read_to_string(info).ok()
        })
        .any(|info| is_socket_map(&info))
}

/// `BPF_MAP_TYPE_SOCKMAP` and `BPF_MAP_TYPE_SOCKHASH`, include/uapi/linux/bpf.h.
fn is_socket_map(info: &str) -> bool {
    let kind = info.lines().find_map(|line| line.strip_prefix("map_type:"));
    kind.is_some_and(|kind| matches!(kind.trim(), "15" | "18"))
}

/// The descriptors of a process, and what each is. One call tells each;
/// `procfs` makes three.
pub(super) fn open(pid: u32) -> impl Iterator<Item = (OsString, PathBuf)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let open = open.into_iter().flatten().flatten();
    open.filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_only() {
        let maps = "\
55d0-55d1 r--p 00000000 fe:00 131 /usr/bin/cat
55d1-55d2 r-xp 00001000 fe:00 131 /usr/bin/cat
7ffd-7ffe rw-p 00000000 00:00 0 [stack]
7fff-8000 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code(maps).collect::<Vec<_>>(), ["55d1-55d2"]);
    }

    #[test]
    fn maps_of_sockets_are_told_from_others() {
        let info = |kind: u32| format!("pos:\t0\nflags:\t02\nmap_type:\t{kind}\nkey_size:\t4\n");
        assert!(is_socket_map(&info(15)));
        assert!(is_socket_map(&info(18)));
        assert!(!is_socket_map(&info(1)));
        assert!(!is_socket_map(""));
        assert!(!has_socket_map(std::process::id()));
    }

    /// A process that ends while it is inspected says nothing of its file.
    #[test]
    fn a_process_that_has_ended() {
        let mut files = Files::default();
        let id = (1, 2, 3, 4);
        assert!(!files.may_splice_sockets(&[(id, "/proc/0/exe".into())]));
        // Nor does it decide for the next one that runs it.
        assert!(files.may_splice_sockets(&[(id, "/etc/passwd".into())]));
    }

    #[test]
    fn the_own_libraries() {
        let found = code_of(std::process::id()).unwrap();
        let own = id_of(Path::new("/proc/self/exe")).unwrap();
        assert!(found.iter().any(|(id, _)| *id == own));
        assert!(found.len() > 1, "no library: {found:?}");
    }
}
