//! The plan of a benchmark: groups of cases, and the variants that each case compares.

use serde::Serialize;

use super::wire::{Calls, Family, Work};

/// The mode in which a worker is run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As it is.
    Plain,
    /// As it is, with its connections in a naive redirect.
    Naive,
    /// Under `socketvirt exec --mode eager`.
    Eager,
    /// Under `socketvirt exec --mode adopt`.
    Adopt,
}

impl Mode {
    /// The value of `exec --mode`.
    #[must_use]
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Naive => None,
            Self::Eager => Some("eager"),
            Self::Adopt => Some("adopt"),
        }
    }
}

/// One way to carry the same bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Plain TCP.
    Tcp,
    /// A Unix stream socket.
    Unix,
    /// Accelerated from the handshake on.
    FastEager,
    /// Accelerated by adoption, in mid-life.
    FastAdopt,
    /// Enrolled, but in traffic that is better off on the stack.
    Passing,
    /// Under socketvirt, but not suitable or not worth it.
    NotEnrolled,
    /// Plain TCP outside of socketvirt's cgroup, while socketvirt runs.
    Beside,
    /// The same, while a pair is adopted there.
    Bystander,
    /// Plain TCP while the socket table is kept.
    Kept,
    /// A redirect without a rule, on a host without socketvirt.
    Naive,
    /// Under socketvirt, which enrols at the handshake and chooses the path.
    Eager,
    /// Under socketvirt, which adopts or does not.
    Adopt,
}

/// The outcome that a variant is meant to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// Bytes go the fast way, or the number is not what its label says.
    Fast,
    /// Bytes stay on the stack.
    Stack,
    /// Either: the share is part of the result.
    Either,
}

impl Variant {
    /// As printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::FastEager => "fast-eager",
            Self::FastAdopt => "fast-adopt",
            Self::Passing => "passing",
            Self::NotEnrolled => "not-enrolled",
            Self::Beside => "beside",
            Self::Bystander => "bystander",
            Self::Kept => "table-kept",
            Self::Naive => "naive",
            Self::Eager => "eager",
            Self::Adopt => "adopt",
        }
    }

    /// Which worker carries it.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Self::Tcp | Self::Unix | Self::Beside | Self::Bystander | Self::Kept => Mode::Plain,
            Self::Naive => Mode::Naive,
            Self::FastEager | Self::Passing | Self::Eager => Mode::Eager,
            Self::FastAdopt | Self::NotEnrolled | Self::Adopt => Mode::Adopt,
        }
    }

    /// Which sockets it uses.
    #[must_use]
    pub fn family(self) -> Family {
        if self == Self::Unix {
            Family::Unix
        } else {
            Family::Tcp
        }
    }

    /// True when it needs no socketvirt on the host.
    #[must_use]
    pub fn is_alone(self) -> bool {
        matches!(self, Self::Tcp | Self::Unix | Self::Naive)
    }

    /// Where its bytes are meant to go.
    #[must_use]
    pub fn expects(self) -> Expect {
        match self {
            Self::FastEager | Self::FastAdopt | Self::Naive => Expect::Fast,
            Self::NotEnrolled => Expect::Stack,
            Self::Tcp
            | Self::Unix
            | Self::Passing
            | Self::Beside
            | Self::Bystander
            | Self::Kept
            | Self::Eager
            | Self::Adopt => Expect::Either,
        }
    }

    /// The time, in milliseconds, for which a connection talks unmeasured if it is not
    /// fast before: several looks must find it worth it, and both ends be enrolled.
    #[must_use]
    pub fn settles(self) -> u64 {
        match self {
            Self::FastEager | Self::FastAdopt | Self::Naive => 4000,
            Self::Eager | Self::Adopt => 1500,
            _ => 0,
        }
    }
}

/// Where the two ends live.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// One namespace, 127.0.0.1.
    Loopback,
    /// The same in a namespace of its own, without TIME-WAIT.
    Forgetful,
    /// Two namespaces, and a veth pair between them.
    Veth,
    /// Two namespaces, two veth pairs and a bridge between them.
    Bridge,
}

/// Cases that share their workers.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// For `--only`.
    pub name: &'static str,
    /// For the table.
    pub title: &'static str,
    /// The works of the two ends, one after the other.
    pub works: &'static [Work],
    /// The way in which they wait.
    pub calls: Calls,
    /// Where they live.
    pub setting: Setting,
    /// The variants, the baseline first.
    pub variants: &'static [Variant],
    /// Message sizes.
    pub sizes: &'static [usize],
    /// Message sizes of a quick run.
    pub quick: &'static [usize],
    /// The numbers of processors that the two ends use.
    pub cpus: &'static [usize],
    /// True when socketvirt is started and stopped for each round, so that the
    /// baseline is a host without it.
    pub restarts: bool,
}

const SIZES: &[usize] = &[1, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10];
const REQUEST: &[usize] = &[64];
const STREAMS: &[usize] = &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10];
const QUICK_STREAMS: &[usize] = &[1 << 10, 16 << 10, 64 << 10];

/// One way, by blocking calls; the others differ from it in how and where.
const STREAM: Group = Group {
    name: "stream-blocking",
    title: "streams, blocking calls",
    works: &[Work::Stream],
    calls: Calls::Blocking,
    setting: Setting::Loopback,
    variants: &[Variant::Tcp, Variant::Eager, Variant::Adopt],
    sizes: STREAMS,
    quick: QUICK_STREAMS,
    cpus: &[1, 2],
    restarts: false,
};

/// The group to which memory and looks belong.
pub const TABLE: &str = "table";

/// Everything that can be measured.
pub const GROUPS: &[Group] = &[
    Group {
        name: "blocking",
        title: "round trips, blocking calls",
        works: &[Work::RoundTrip],
        calls: Calls::Blocking,
        setting: Setting::Loopback,
        variants: &[
            Variant::Tcp,
            Variant::Unix,
            Variant::FastEager,
            Variant::NotEnrolled,
        ],
        sizes: SIZES,
        quick: &[64, 4 << 10],
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "epoll",
        title: "round trips, epoll",
        works: &[Work::RoundTrip],
        calls: Calls::Epoll,
        setting: Setting::Loopback,
        variants: &[
            Variant::Tcp,
            Variant::Unix,
            Variant::FastEager,
            Variant::FastAdopt,
        ],
        sizes: SIZES,
        quick: &[64, 4 << 10],
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "stream",
        title: "streams, epoll",
        works: &[Work::Stream],
        calls: Calls::Epoll,
        setting: Setting::Loopback,
        variants: &[
            Variant::Tcp,
            Variant::Unix,
            Variant::Passing,
            Variant::NotEnrolled,
        ],
        sizes: SIZES,
        quick: &[1 << 10, 256 << 10],
        cpus: &[1, 2],
        restarts: false,
    },
    STREAM,
    Group {
        name: "stream-veth",
        title: "streams over veth, epoll",
        calls: Calls::Epoll,
        setting: Setting::Veth,
        ..STREAM
    },
    Group {
        name: "stream-veth-blocking",
        title: "streams over veth, blocking calls",
        setting: Setting::Veth,
        ..STREAM
    },
    Group {
        name: "stream-bridge",
        title: "streams over veth and a bridge, epoll",
        calls: Calls::Epoll,
        setting: Setting::Bridge,
        ..STREAM
    },
    Group {
        name: "stream-bridge-blocking",
        title: "streams over veth and a bridge, blocking calls",
        setting: Setting::Bridge,
        ..STREAM
    },
    Group {
        name: "connect",
        title: "connection set-up",
        works: &[Work::Connect, Work::Request],
        calls: Calls::Blocking,
        setting: Setting::Forgetful,
        variants: &[
            Variant::Tcp,
            Variant::Unix,
            Variant::FastEager,
            Variant::NotEnrolled,
        ],
        sizes: REQUEST,
        quick: REQUEST,
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "netns",
        title: "round trips over veth and a bridge, blocking calls",
        works: &[Work::RoundTrip],
        calls: Calls::Blocking,
        setting: Setting::Bridge,
        variants: &[Variant::Tcp, Variant::FastEager],
        sizes: &[64, 1 << 10, 4 << 10, 16 << 10, 64 << 10],
        quick: &[64, 4 << 10],
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "netns-epoll",
        title: "round trips over veth and a bridge, epoll",
        works: &[Work::RoundTrip],
        calls: Calls::Epoll,
        setting: Setting::Bridge,
        variants: &[Variant::Tcp, Variant::FastEager, Variant::FastAdopt],
        sizes: &[64, 1 << 10, 4 << 10, 16 << 10, 64 << 10],
        quick: &[64, 4 << 10],
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "presence",
        title: "plain TCP without, beside and under socketvirt",
        works: &[Work::RoundTrip, Work::Request],
        calls: Calls::Blocking,
        setting: Setting::Forgetful,
        variants: &[Variant::Tcp, Variant::Beside, Variant::NotEnrolled],
        sizes: REQUEST,
        quick: REQUEST,
        cpus: &[1],
        restarts: true,
    },
    Group {
        name: "bystander",
        title: "plain TCP without socketvirt, and beside a pair that it has adopted",
        works: &[Work::RoundTrip, Work::Request],
        calls: Calls::Blocking,
        setting: Setting::Forgetful,
        variants: &[Variant::Tcp, Variant::Bystander],
        sizes: REQUEST,
        quick: REQUEST,
        cpus: &[1, 2],
        restarts: false,
    },
    Group {
        name: "floor",
        title: "round trips beside the least that a redirect can cost, blocking calls",
        works: &[Work::RoundTrip],
        calls: Calls::Blocking,
        setting: Setting::Loopback,
        variants: &[
            Variant::Tcp,
            Variant::Unix,
            Variant::Naive,
            Variant::FastEager,
        ],
        sizes: &[64, 4 << 10, 16 << 10, 64 << 10],
        quick: &[64, 4 << 10],
        cpus: &[1, 2],
        restarts: true,
    },
    Group {
        name: TABLE,
        title: "plain TCP without and with a kept socket table",
        works: &[Work::RoundTrip, Work::Connect, Work::Request],
        calls: Calls::Blocking,
        setting: Setting::Forgetful,
        variants: &[Variant::Tcp, Variant::Kept],
        sizes: REQUEST,
        quick: REQUEST,
        cpus: &[1, 2],
        restarts: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_compares_with_tcp_first() {
        for group in GROUPS {
            assert_eq!(
                group.variants.first(),
                Some(&Variant::Tcp),
                "{}",
                group.name
            );
        }
    }

    /// A host that is started for a round stays until its end.
    #[test]
    fn what_needs_no_socketvirt_comes_first() {
        for group in GROUPS.iter().filter(|group| group.restarts) {
            let alone = group.variants.iter().map(|variant| variant.is_alone());
            assert!(
                alone.is_sorted_by(|one, next| one >= next),
                "{}",
                group.name
            );
        }
    }

    #[test]
    fn names_select_one_group() {
        let mut names: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), GROUPS.len());
    }
}
