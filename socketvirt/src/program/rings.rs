//! The `io_uring`s of a process, by what their entries show that it has done by
//! them.
//!
//! The kernel leaves entries as they were submitted, so a ring shows the last ones,
//! up to its size. They lie in the memory of the process that has mapped them.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use socketvirt_common::rule::ring::{FIXED_FILE, Kind, kind};

use super::files;

/// The name of a ring among descriptors and mappings.
const NAME: &str = "anon_inode:[io_uring]";

/// `IORING_OFF_SQES`: the offset at which entries are mapped.
const ENTRIES_AT: u64 = 0x1000_0000;

/// The bytes of an entry. Larger ones (`IORING_SETUP_SQE128`) begin at every other.
const ENTRY: usize = 64;

/// More entries than a ring may have (`IORING_MAX_ENTRIES`, in large ones).
const MOST: u64 = 2 * 32_768;

/// The times that a ring is asked for its files; it answers nothing while it is at
/// work.
const TRIES: u32 = 16;

/// What the rings of a process show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// There are none.
    None,
    /// They were used for other things than networking.
    Files,
    /// One was not used yet.
    Unused,
    /// One is at work, and shall be asked again.
    Busy,
    /// One cannot be read.
    Hidden,
    /// One was used for networking.
    Network,
}

/// Looks at the rings of a process, which is known to have `made` so many.
///
/// # Errors
/// When the process has ended, or may not be inspected.
pub fn of(pid: u32, made: u64) -> io::Result<Shown> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mapped: Vec<Mapped> = maps.lines().filter_map(Mapped::of).collect();
    let mut rings = HashMap::new();
    for (fd, target) in files::open(pid) {
        if target.as_os_str() == NAME {
            // Each ring has an inode of its own.
            let found = fs::metadata(format!("/proc/{pid}/fd/{}", fd.to_string_lossy()))?;
            rings.insert(found.ino(), fd);
        }
    }
    // A ring whose descriptor is registered and closed tells nothing of itself any
    // more, nor does one that is gone.
    let is_gone = made > rings.len() as u64;
    if is_gone || mapped.iter().any(|ring| !rings.contains_key(&ring.inode)) {
        return Ok(Shown::Hidden);
    }
    let mut shown = Shown::None;
    for (inode, fd) in &rings {
        let of_ring = mapped.iter().find(|one| one.inode == *inode && one.entries);
        let one = match of_ring {
            Some(entries) => of_one(pid, fd, entries)?,
            None => Shown::Hidden,
        };
        shown = shown.max(one);
    }
    Ok(shown)
}

fn of_one(pid: u32, fd: &OsString, mapped: &Mapped) -> io::Result<Shown> {
    let path = format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy());
    let mut asked = None;
    for _ in 0..TRIES {
        asked = Info::of(&fs::read_to_string(&path)?);
        if asked.is_some() {
            break;
        }
        std::thread::yield_now();
    }
    let Some(info) = asked else {
        return Ok(Shown::Busy);
    };
    let length = info.entries * ENTRY as u64;
    if info.network {
        return Ok(Shown::Network);
    }
    if mapped.length < length || mapped.length > MOST * ENTRY as u64 {
        return Ok(Shown::Hidden);
    }
    let mut entries = vec![0; usize::try_from(mapped.length).unwrap_or(0)];
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    if memory.read_exact_at(&mut entries, mapped.start).is_err() {
        // Before 6.10 they are no pages that can be read from outside.
        return Ok(Shown::Hidden);
    }
    let mut sockets = HashMap::new();
    Ok(of_entries(&entries, |fd| {
        *sockets.entry(fd).or_insert_with(|| is_socket(pid, fd))
    }))
}

/// Judges by entries; `is_socket` is asked for a descriptor that one reads or writes.
fn of_entries(entries: &[u8], mut is_socket: impl FnMut(u32) -> bool) -> Shown {
    let mut shown = Shown::Unused;
    let (entries, _) = entries.as_chunks::<ENTRY>();
    for entry in entries {
        let [operation, flags, _, _, a, b, c, d, ..] = *entry;
        let of_socket = match kind(operation) {
            Kind::Harmless if operation == 0 => continue,
            Kind::Harmless => false,
            Kind::Descriptor => {
                let fixed = u32::from(flags) & FIXED_FILE != 0;
                !fixed && is_socket(u32::from_ne_bytes([a, b, c, d]))
            }
            Kind::Network => true,
        };
        if of_socket {
            return Shown::Network;
        }
        shown = Shown::Files;
    }
    shown
}

fn is_socket(pid: u32, fd: u32) -> bool {
    let target = fs::read_link(Path::new(&format!("/proc/{pid}/fd/{fd}")));
    // One that is closed by now says nothing.
    target.is_ok_and(|target| {
        target
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(b"socket:")
    })
}

/// A mapping of a ring.
#[derive(Debug, PartialEq, Eq)]
struct Mapped {
    start: u64,
    length: u64,
    inode: u64,
    /// It is that of the entries.
    entries: bool,
}

impl Mapped {
    /// Reads a line of `/proc/<pid>/maps`; none when it is of something else.
    fn of(line: &str) -> Option<Self> {
        // Names of files begin with a slash.
        let line = line.strip_suffix(NAME)?.trim_end();
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |word: &str| u64::from_str_radix(word, 16).ok();
        let offset = number(words.nth(1)?)?;
        let inode = words.nth(1)?.parse().ok()?;
        let (start, end) = (number(start)?, number(end)?);
        words.next().is_none().then_some(Self {
            start,
            length: end.checked_sub(start)?,
            inode,
            entries: offset == ENTRIES_AT,
        })
    }
}

/// What the kernel tells of a ring in `fdinfo` (`io_uring/fdinfo.c`).
#[derive(Debug, PartialEq, Eq)]
struct Info {
    /// Entries that it has.
    entries: u64,
    /// A socket is among its registered files, or waited for.
    network: bool,
}

impl Info {
    /// None when it does not tell: the ring is locked.
    fn of(text: &str) -> Option<Self> {
        let mut sections = BTreeSet::new();
        let (mut section, mut entries, mut network) = ("", None, false);
        for line in text.lines() {
            // Numbers of five digits are not indented.
            if line.starts_with(|first: char| first == ' ' || first.is_ascii_digit()) {
                let item = line.trim_start();
                network |= match section {
                    "UserFiles" => {
                        let file = item.split_once(": ").map_or("", |(_, file)| file);
                        file.starts_with("socket:")
                    }
                    "PollList" => waits_for_socket(item),
                    _ => false,
                };
                continue;
            }
            let (name, value) = line.split_once(':')?;
            section = name;
            sections.insert(name);
            if name == "SqMask" {
                let mask = value.trim().strip_prefix("0x")?;
                entries = Some(u64::from_str_radix(mask, 16).ok()? + 1);
            }
        }
        let complete = ["UserFiles", "PollList"].map(|name| sections.contains(name));
        (complete == [true; 2]).then_some(Self {
            entries: entries?,
            network,
        })
    }
}

/// True when a request that waits until something can be read is of a socket: files
/// do not wait.
fn waits_for_socket(item: &str) -> bool {
    let operation = item.strip_prefix("op=").and_then(|rest| {
        let digits = rest.split(',').next()?;
        digits.trim().parse().ok()
    });
    operation.is_none_or(|operation| kind(operation) != Kind::Harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(operation: u8, flags: u8, fd: u32) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[0] = operation;
        entry[1] = flags;
        entry[4..8].copy_from_slice(&fd.to_ne_bytes());
        entry
    }

    fn shown(entries: &[[u8; ENTRY]]) -> Shown {
        of_entries(entries.as_flattened(), |fd| fd == 7)
    }

    #[test]
    fn entries_show_what_was_done() {
        let (never, read, recv) = ([0; ENTRY], entry(22, 0, 5), entry(27, 0, 7));
        assert_eq!(shown(&[never, never]), Shown::Unused);
        assert_eq!(shown(&[read, never]), Shown::Files);
        assert_eq!(shown(&[read, recv]), Shown::Network);
        // A read of a socket.
        assert_eq!(shown(&[entry(22, 0, 7)]), Shown::Network);
        // A number among the registered files, which are looked at by themselves.
        assert_eq!(shown(&[entry(22, 1, 7)]), Shown::Files);
        assert_eq!(shown(&[entry(200, 0, 0)]), Shown::Network);
    }

    #[test]
    fn mappings_of_rings() {
        let line = "7f8bd6118000-7f8bd6119000 rw-s 10000000 00:10 15802                      \
                    anon_inode:[io_uring]";
        let found = Mapped {
            start: 0x7f8b_d611_8000,
            length: 0x1000,
            inode: 15802,
            entries: true,
        };
        assert_eq!(Mapped::of(line), Some(found));
        let rings = line.replace("10000000", "00000000");
        assert!(!Mapped::of(&rings).unwrap().entries);
        let file = line.replace("anon", "/tmp/x anon");
        assert_eq!(Mapped::of(&file), None);
        assert_eq!(Mapped::of("7ffd-7ffe rw-p 00000000 00:00 0 [stack]"), None);
    }

    #[test]
    fn the_kernel_tells_of_files_and_polls() {
        let told = |files: &str, polls: &str| {
            let text = format!(
                "pos:\t0\nSqMask:\t0x7\nCQEs:\t1\n    0: user_data:27, res:64, flag:0\n\
                 UserFiles:\t2\n{files}UserBufs:\t0\nPollList:\n{polls}CqOverflowList:\n"
            );
            Info::of(&text)
        };
        let ring = |network| {
            let entries = 8;
            Some(Info { entries, network })
        };
        assert_eq!(told("    0: /etc/passwd\n", ""), ring(false));
        assert_eq!(told("    1: socket:[15800]\n", ""), ring(true));
        assert_eq!(told("12345: socket:[15800]\n", ""), ring(true));
        assert_eq!(told("", "  op=13, task_works=0\n"), ring(true));
        assert_eq!(told("", "  op=6, task_works=0\n"), ring(false));
        // It was at work.
        assert_eq!(Info::of("pos:\t0\nSqMask:\t0x7\nSQEs:\t0\n"), None);
    }

    #[test]
    fn a_process_without_rings() {
        assert_eq!(of(std::process::id(), 0).unwrap(), Shown::None);
        assert_eq!(of(std::process::id(), 1).unwrap(), Shown::Hidden);
        assert!(of(0, 0).is_err());
    }
}
