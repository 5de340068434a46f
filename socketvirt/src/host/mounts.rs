//! Mounts, from `/proc/<pid>/mountinfo`.

use std::{
    ffi::OsString,
    fs::{self, File},
    io, iter,
    os::{fd::AsRawFd as _, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
};

use nix::sys::statfs::{FsType, statfs};

/// The calling thread's, which may have a mount namespace of its own.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the file system that is shown; `/` for all of it.
    pub root: PathBuf,
    /// Where it is shown.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: String,
    /// Set when it is reached through another process; see [`lent`].
    pub lender: Option<Lender>,
}

/// A process in another mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lender {
    /// Its id.
    pub pid: i32,
    /// Where it sees the mount.
    pub point: PathBuf,
}

impl Mount {
    /// For the operator.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.lender {
            None => self.point.display().to_string(),
            Some(Lender { pid, point }) => {
                format!("{}, of process {pid}: not mounted here", point.display())
            }
        }
    }
}

/// Mounts that are lent, by the type of their file system. The open folder keeps
/// each within reach when its lender ends.
static LENT: Mutex<Vec<(File, Mount)>> = Mutex::new(Vec::new());

/// The mounts of type `kind` that can be reached, in the order in which they
/// were made. `magic` is the file system's number in `<linux/magic.h>`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn of_kind(kind: &str, magic: FsType) -> io::Result<Vec<Mount>> {
    let mut mounts = parse(&fs::read(MOUNTINFO)?);
    // A mount may be hidden by another on top of it.
    mounts.retain(|mount| mount.kind == kind && is_of(&mount.point, magic));
    Ok(mounts)
}

/// A mount of the nearest process among those that started this one that has
/// one, to be reached by a descriptor of this process: whoever gives a program a
/// `/sys` of its own, as `ip netns exec` does, hides what is mounted on it.
#[must_use]
pub fn lent(kind: &str, magic: FsType) -> Option<Mount> {
    let mut known = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    let of_kind = |(_, mount): &&(File, Mount)| mount.kind == kind;
    if let Some((_, mount)) = known.iter().find(of_kind) {
        return Some(mount.clone());
    }
    let found = ancestors().find_map(|pid| lent_by(pid, kind, magic))?;
    let mount = found.1.clone();
    known.push(found);
    Some(mount)
}

/// The parent, its parent, and so on up to process 1.
fn ancestors() -> impl Iterator<Item = i32> {
    let parent = |pid: &i32| Some(super::process::stat(u32::try_from(*pid).ok()?).ok()?.ppid);
    let own = i32::try_from(process::id()).ok();
    iter::successors(own, parent)
        .skip(1)
        .take_while(|pid| *pid > 0)
}

fn lent_by(pid: i32, kind: &str, magic: FsType) -> Option<(File, Mount)> {
    let mounts = parse(&fs::read(format!("/proc/{pid}/mountinfo")).ok()?);
    let mut of_kind: Vec<_> = mounts.into_iter().filter(|one| one.kind == kind).collect();
    of_kind.sort_by_key(|mount| mount.root.components().count());
    of_kind.into_iter().find_map(|mount| {
        let below = mount.point.strip_prefix("/").unwrap_or(&mount.point);
        let folder = File::open(Path::new(&format!("/proc/{pid}/root")).join(below)).ok()?;
        let point = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        let lender = Some(Lender {
            pid,
            point: mount.point,
        });
        is_of(&point, magic).then_some((
            folder,
            Mount {
                point,
                lender,
                ..mount
            },
        ))
    })
}

/// True when `path` lies in a file system of this kind.
#[must_use]
pub fn is_of(path: &Path, magic: FsType) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == magic)
}

/// Reads the lines that are mounts.
///
/// `procfs` would not do: it leaves paths escaped, and gives up all mounts for
/// one line that it does not understand, such as a path that is not UTF-8.
fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`, with any
/// number of words before the `-`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let root = unescape(words.nth(3)?);
    let point = unescape(words.next()?);
    words.find(|word| *word == b"-")?;
    let kind = String::from_utf8(words.next()?.to_vec()).ok()?;
    Some(Mount {
        root,
        point,
        kind,
        lender: None,
    })
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().filter(|_| *byte == b'\\');
        let code = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        let text = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            50 31 0:40 /a\\040b /mnt/c\\134d rw shared:1 master:2 - bpf none rw\n\
            not a mount\n\n";
        let mount = |root: &str, point: &str, kind: &str| Mount {
            root: root.into(),
            point: point.into(),
            kind: kind.into(),
            lender: None,
        };
        assert_eq!(
            parse(text),
            [
                mount("/", "/sys/fs/cgroup/unified", "cgroup2"),
                mount("/a b", "/mnt/c\\d", "bpf"),
            ]
        );
    }

    #[test]
    fn finds_a_mount_of_the_running_system() {
        let found = of_kind("proc", nix::sys::statfs::PROC_SUPER_MAGIC).unwrap();
        assert!(found.iter().any(|mount| mount.point == Path::new("/proc")));
    }
}
