//! The known differences between an enrolled socket and plain TCP: the one list of
//! them.
//!
//! `socketvirt doctor` tries those that have a check, the conformance test excuses
//! those that nothing keeps away, and `docs/compatibility.md` shows all of them
//! (`cargo xtask docs`).

mod options;
mod receiving;
mod sending;

use crate::reason::Reason;

/// One way in which an enrolled socket can differ from plain TCP.
#[derive(Debug)]
pub struct Difference {
    /// Its name in JSON; never changed.
    pub name: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// The kernels' treatment of an enrolled socket, as far as they differ.
    pub fact: &'static str,
    /// The facts in `docs/kernel` that it rests on.
    pub kernel: &'static [&'static str],
    /// The answer of plain TCP.
    pub plain: &'static str,
    /// From which kernel version on the difference is gone, where known.
    pub fixed_in: Option<&'static str>,
    /// The keeper: it keeps the difference away from programs.
    pub keeper: Keeper,
    /// The part of it that a program sees in adopt mode.
    pub adopt: Outcome,
    /// The same in eager mode.
    pub eager: Outcome,
    /// The share of programs that depend on what differs.
    pub likely: Likely,
    /// The section of `docs/compatibility.md` that says more.
    pub section: &'static str,
}

/// The keeper of a difference: it keeps the difference away from programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Nothing but a kernel that gets it right: every enrolled socket depends
    /// on it, so a receive mode that differs is not used.
    Kernel,
    /// A rule of the data path, by its word. With it an enrolled pair answers
    /// as plain TCP; a receive mode in which it does not is not used.
    Rule(&'static str),
    /// A guard: sockets that could show it are not enrolled, or released, for
    /// this reason. In eager mode, only those that could show it before the
    /// handshake, and later those that are non-blocking.
    Guard(Reason),
    /// A guard of adopt mode alone.
    AdoptGuard(Reason),
    /// A guard that comes late: some programs show it before they do it, and
    /// are kept off; the others are remembered and show it once. What the
    /// operator can do.
    LateGuard(Reason, &'static str),
    /// Nothing. What the operator can do.
    Nobody(&'static str),
}

impl Keeper {
    /// Returns the reason or the rule by which it keeps the difference away.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Kernel | Self::Nobody(_) => None,
            Self::Rule(word) => Some(word),
            Self::Guard(reason) | Self::AdoptGuard(reason) | Self::LateGuard(reason, _) => {
                Some(reason.word())
            }
        }
    }

    /// Returns what the operator can do where nothing keeps it away in time.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::LateGuard(_, advice) | Self::Nobody(advice) => Some(advice),
            _ => None,
        }
    }
}

/// The part of a difference that a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// None: the kernel or a rule of the data path takes care of it.
    Same,
    /// None: the sockets that could show it stay on plain TCP.
    KeptOff,
    /// None, if it shows before the handshake.
    KeptOffEarly,
    /// It sees it a second late at most.
    Late,
    /// It can see it on its first connections, and is then remembered.
    Once,
    /// It can see it.
    Differs,
}

impl Outcome {
    /// Returns its words in a table.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::KeptOff => "kept off",
            Self::KeptOffEarly => "kept off; late: once",
            Self::Late => "a second late",
            Self::Once => "once",
            Self::Differs => "**differs**",
        }
    }
}

/// The share of programs that depend on what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likely {
    /// Every connection.
    Always,
    /// Many programs.
    Common,
    /// Few programs.
    Rare,
    /// Hardly any program.
    VeryRare,
}

impl Likely {
    /// Returns its word in a table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Always => "every",
            Self::Common => "many",
            Self::Rare => "few",
            Self::VeryRare => "hardly any",
        }
    }
}

/// Differences of one kind.
#[derive(Debug)]
pub struct Kind {
    /// Their subject.
    pub title: &'static str,
    /// The differences.
    pub list: &'static [Difference],
}

/// Every known difference.
pub const ALL: [Kind; 3] = [
    Kind {
        title: "Receiving",
        list: receiving::LIST,
    },
    Kind {
        title: "Sending, and ends of connections",
        list: sending::LIST,
    },
    Kind {
        title: "Options, and others that use the socket",
        list: options::LIST,
    },
];

/// Returns the difference with this name. In a constant, a name that is not in the
/// list fails the build.
///
/// # Panics
/// When there is none.
#[must_use]
pub const fn named(name: &str) -> &'static Difference {
    let mut kind = 0;
    while kind < ALL.len() {
        let list = ALL[kind].list;
        let mut at = 0;
        while at < list.len() {
            if same(list[at].name, name) {
                return &list[at];
            }
            at += 1;
        }
        kind += 1;
    }
    panic!("no difference has this name");
}

/// Compares two words in a constant.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static Difference> {
        ALL.iter().flat_map(|kind| kind.list)
    }

    #[test]
    fn names_are_single_and_words() {
        let mut names = std::collections::BTreeSet::new();
        for one in all() {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            assert!(one.name.bytes().all(word), "{}", one.name);
            assert!(names.insert(one.name), "{} twice", one.name);
            assert_eq!(named(one.name).title, one.title);
        }
    }

    /// A guard of adopt mode alone leaves eager mode without one, and where nothing
    /// keeps a difference away it is told to differ.
    #[test]
    fn what_is_told_follows_from_what_keeps_it_away() {
        for one in all() {
            let told = match one.keeper {
                Keeper::Kernel | Keeper::Rule(_) => {
                    matches!(one.adopt, Outcome::Same | Outcome::Late) && one.adopt == one.eager
                }
                Keeper::Guard(_) => one.adopt == Outcome::KeptOff && one.eager != Outcome::Differs,
                Keeper::AdoptGuard(_) => {
                    one.adopt != Outcome::Differs && one.eager == Outcome::Differs
                }
                Keeper::LateGuard(..) => one.adopt == Outcome::Once,
                // A rule sees most of it.
                Keeper::Nobody(_) => one.name == "more" || one.adopt == Outcome::Differs,
            };
            assert!(told, "{one:?}");
        }
    }
}
