//! The capabilities that the caller has, and what each is for.

use std::{fs, io};

use super::symbols;

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

const PTRACE: Capability = ("CAP_SYS_PTRACE", 19, "looking at programs of other users");

/// Something that does not work for want of a capability, or of a setting that
/// takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcoming {
    /// Its name in the report of `doctor`; never changed.
    pub name: &'static str,
    /// What is missing for what, and what comes of it.
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
        let status = fs::read_to_string(STATUS).map_err(|error| (STATUS, error))?;
        Ok(Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let set = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Self(set.unwrap_or(0))
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

    /// What cannot be done by the agent that was started all the same, given
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

/// What does not work here for the caller, although an agent can be started.
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
    use super::*;

    const ALL: &str = "000001ffffffffff";

    fn held(set: &str) -> Held {
        Held::parse(&format!("Name:\ta\nCapPrm:\t{ALL}\nCapEff:\t{set}\n"))
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        assert!(held(ALL).missing().is_empty());
        let missing = held("000001bfffffefff").missing();
        assert_eq!(
            missing,
            [
                "CAP_NET_ADMIN (for programs of sockets)",
                "CAP_PERFMON (for reading the kernel's structures)"
            ]
        );
        assert_eq!(Held::parse("").missing().len(), NEEDED.len());
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
        assert!(named(held(ALL), [1, 2], "0\n").is_empty());
        // Readable whatever the capability, where profiling is allowed to all.
        let without_syslog = held("000001fbffffffff");
        assert!(named(without_syslog, [1, 2], "0\n").is_empty());
        for waiters in [[0, 0], [0, 2], [1, 0]] {
            let words = named(without_syslog, waiters, "0\n").remove(0);
            assert!(words.starts_with("CAP_SYSLOG is missing"), "{words}");
            let words = named(held(ALL), waiters, "2\n").remove(0);
            assert!(words.starts_with("kernel.kptr_restrict is 2"), "{words}");
        }
        let words = named(held("000001fffff7ffff"), [1, 2], "0\n").remove(0);
        assert!(words.starts_with("CAP_SYS_PTRACE is missing"), "{words}");
    }
}
