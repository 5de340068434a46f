//! The capabilities that the caller has, and what each is for.

use std::{fs, io};

use caps::{CapSet, CapsHashSet, errors::CapsError};
use nix::sys::prctl;
use procfs::{FromRead as _, process::Status};

use super::symbols;
use crate::host::process;

const STATUS: &str = "/proc/thread-self/status";
const POINTERS: &str = "/proc/sys/kernel/kptr_restrict";

/// One capability: its name, its number in include/uapi/linux/capability.h, and
/// what is done by it.
pub type Capability = (&'static str, u32, &'static str);

/// Without one of these nothing can be started.
pub const NEEDED: [Capability; 4] = [
    ("CAP_NET_ADMIN", 12, "programs of sockets"),
    ("CAP_SYS_ADMIN", 21, "other network namespaces, and cgroups"),
    ("CAP_PERFMON", 38, "reading the kernel's structures"),
    ("CAP_BPF", 39, "programs and maps"),
];

const SYSLOG: Capability = (
    "CAP_SYSLOG",
    34,
    "the addresses of kernel functions, by which epoll and poll are told from a reader asleep",
);

/// Kept by [`keep_needed`] beside those of which a lack is told: without one of them, some
/// host or some option lacks something.
const USEFUL: [Capability; 4] = [
    ("CAP_CHOWN", 0, "giving the control socket to a group"),
    ("CAP_DAC_OVERRIDE", 1, "cgroups in folders of others"),
    (
        "CAP_DAC_READ_SEARCH",
        2,
        "programs that only their owner can read",
    ),
    (
        "CAP_SYS_NICE",
        23,
        "inspecting programs before they connect",
    ),
];

const PTRACE: Capability = ("CAP_SYS_PTRACE", 19, "inspecting programs of other users");

/// Something that does not work for want of a capability, or of a setting that
/// takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcoming {
    /// Its name in the report of `doctor`; never changed.
    pub name: &'static str,
    /// The sentence for the operator: what is missing for what, and what comes of it.
    pub words: String,
    /// True when it costs some sockets acceleration, and the others nothing.
    pub is_limit: bool,
}

/// The set of capabilities in force. Being root is not asked: a container's
/// root may lack them.
#[derive(Clone, Copy, Debug)]
pub struct Held(u64);

impl Held {
    /// Those of the calling thread.
    ///
    /// # Errors
    /// When `/proc` cannot be read, with the file's name.
    pub fn of_caller() -> Result<Self, (&'static str, io::Error)> {
        match Status::from_file(STATUS) {
            Ok(status) => Ok(Self(status.capeff)),
            Err(error) => Err((STATUS, process::error(error))),
        }
    }

    fn has(self, (_, number, _): Capability) -> bool {
        self.0 >> number & 1 == 1
    }

    /// Those of [`NEEDED`] that are missing, each with what it is for.
    #[must_use]
    pub fn missing(self) -> Vec<String> {
        NEEDED
            .into_iter()
            .filter(|needed| !self.has(*needed))
            .map(|(name, _, purpose)| format!("{name} (for {purpose})"))
            .collect()
    }

    /// Returns what an agent that was started all the same cannot do, given
    /// the addresses of `ep_poll_callback` and `pollwake` as they were read.
    fn shortcomings(self, waiters: [u64; 2], restricted: &str) -> Vec<Shortcoming> {
        let mut found = Vec::new();
        if waiters.contains(&0) {
            let (name, _, purpose) = SYSLOG;
            let cause = if !self.has(SYSLOG) {
                format!("{name} is missing, for {purpose}")
            } else if restricted.trim() == "2" {
                format!(
                    "kernel.kptr_restrict is 2, which hides {purpose}; set it to 1 with sysctl(8)"
                )
            } else {
                format!("the kernel does not tell {purpose}")
            };
            found.push(Shortcoming {
                name: "symbols",
                words: format!(
                    "{cause}: a socket that waits there stays on the stack (`reader_asleep`)"
                ),
                is_limit: false,
            });
        }
        if !self.has(PTRACE) {
            let (name, _, purpose) = PTRACE;
            found.push(Shortcoming {
                name: "other_users",
                words: format!(
                    "{name} is missing, for {purpose}: their sockets stay on the stack (`unseen`)"
                ),
                is_limit: true,
            });
        }
        found
    }
}

/// Gives up, for good, what the agent has no use for: all other capabilities, and gaining any
/// by executing a file. To be called before any thread is started, which has those of its
/// maker.
///
/// # Errors
/// When the kernel refuses.
pub fn keep_needed() -> Result<(), CapsError> {
    let wanted = NEEDED.into_iter().chain([SYSLOG, PTRACE]).chain(USEFUL);
    let wanted: CapsHashSet = wanted
        .filter_map(|(name, ..)| name.parse::<caps::Capability>().ok())
        .collect();
    if caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP)? {
        for other in caps::runtime::thread_all_supported().difference(&wanted) {
            caps::drop(None, CapSet::Bounding, *other)?;
        }
    }
    let held = caps::read(None, CapSet::Permitted)?;
    let kept = held.intersection(&wanted).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    // In this order: what is in force must be permitted.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    // It never fails, and only forbids.
    let _ = prctl::set_no_new_privs();
    Ok(())
}

/// Returns what does not work here for the caller, although an agent can be started.
#[must_use]
pub fn shortcomings() -> Vec<Shortcoming> {
    let held = Held::of_caller().unwrap_or(Held(0));
    let restricted = fs::read_to_string(POINTERS).unwrap_or_default();
    // Reading them takes a while, and they surely are told then.
    let waiters = if held.has(SYSLOG) && restricted.trim() != "2" {
        [u64::MAX; 2]
    } else {
        symbols::addresses(["ep_poll_callback", "pollwake"])
    };
    held.shortcomings(waiters, &restricted)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ALL: Held = Held(0x1ff_ffff_ffff);

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        assert!(ALL.missing().is_empty());
        let missing = Held(0x1bf_ffff_efff).missing();
        assert_eq!(
            missing,
            [
                "CAP_NET_ADMIN (for programs of sockets)",
                "CAP_PERFMON (for reading the kernel's structures)"
            ]
        );
        assert_eq!(Held(0).missing().len(), NEEDED.len());
        // The tests run as root.
        assert!(Held::of_caller().unwrap().missing().is_empty());
    }

    #[test]
    fn what_is_not_needed_is_given_up() {
        // In a thread of its own: capabilities are a thread's.
        let left = || {
            keep_needed().unwrap();
            let status = Status::from_file(STATUS).unwrap();
            assert_eq!(status.capeff, status.capprm);
            assert_eq!(status.capinh, 0);
            (status.capeff, status.capbnd, status.nonewprivs)
        };
        let (effective, bounding, forbidden) = thread::spawn(left).join().unwrap();
        let all = NEEDED.into_iter().chain([SYSLOG, PTRACE]).chain(USEFUL);
        let wanted = all.fold(0, |set, (_, number, _)| set | 1 << number);
        assert_eq!(effective & !wanted, 0, "{effective:x}");
        assert_eq!(bounding.unwrap() & !wanted, 0, "{bounding:x?}");
        assert_eq!(forbidden, Some(1));
        assert!(Held(effective).missing().is_empty());
    }

    #[test]
    fn what_is_missing_is_named_with_what_it_is_for() {
        let named = |held: Held, waiters, restricted| -> Vec<String> {
            let found = held.shortcomings(waiters, restricted);
            assert!(
                found
                    .iter()
                    .all(|one| one.is_limit == (one.name == "other_users"))
            );
            found.into_iter().map(|one| one.words).collect()
        };
        assert!(named(ALL, [1, 2], "0\n").is_empty());
        // Readable whatever the capability, where profiling is allowed to all.
        let without_syslog = Held(0x1fb_ffff_ffff);
        assert!(named(without_syslog, [1, 2], "0\n").is_empty());
        for waiters in [[0, 0], [0, 2], [1, 0]] {
            let words = named(without_syslog, waiters, "0\n").remove(0);
            assert!(words.starts_with("CAP_SYSLOG is missing"), "{words}");
            let words = named(ALL, waiters, "2\n").remove(0);
            assert!(words.starts_with("kernel.kptr_restrict is 2"), "{words}");
        }
        let words = named(Held(0x1ff_fff7_ffff), [1, 2], "0\n").remove(0);
        assert!(words.starts_with("CAP_SYS_PTRACE is missing"), "{words}");
    }
}
