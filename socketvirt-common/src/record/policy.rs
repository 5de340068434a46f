//! Policy: the maps that tell the kernel side what an operator allows.
//!
//! A rule restricts some *dimensions* of a connection: ports, addresses, cgroup,
//! namespace, user, group, executable. For each value of a dimension a map gives
//! the [`Set`] of rules that the value does not rule out. The rules that match a
//! connection are what its sets have in common, and the first of them decides:
//! the bit-vector scheme of Lakshman and Stiliadis (SIGCOMM 1998).
//!
//! Every key has the generation of its policy. A new policy is written beside
//! the one in force, and comes into force by one store into `sv_policy`.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Rules of a policy, at most.
pub const RULES: u32 = 4_096;

/// Words of a set.
pub const WORDS: usize = 64;

/// The number of the default, behind every rule.
pub const DEFAULT: u32 = RULES;

/// Numbers of rules, with that of the default.
pub const SLOTS: u32 = RULES + 1;

/// Ports that a socket may have.
pub const PORTS: u32 = 65_536;

/// The set of every rule of a policy.
pub const ALL: u32 = 1;

/// The first set that the agent makes while a policy is in force.
pub const LATER: u32 = 1 << 20;

/// The value by which the rules are found that do not restrict a dimension.
pub const UNNAMED: u64 = u64::MAX;

/// Bytes of a piece of `sv_policy_text`.
pub const PIECE: usize = 1_024;

/// Pieces of `sv_policy_text` that a policy may have.
pub const PIECES: u32 = 4_096;

/// The policy in force, in one word, so that it is changed by one store; 0 while
/// there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active(pub u64);

impl Active {
    /// Puts the word together.
    #[must_use]
    pub const fn new(generation: u32, uses: u16, rules: u32) -> Self {
        let words = rules.div_ceil(64) as u64;
        Self(generation as u64 | (uses as u64) << 32 | words << 48)
    }

    /// Returns the generation; 0 while there is no policy.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it is the lower half")]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// True when some rule restricts this dimension.
    #[inline(always)]
    #[must_use]
    pub const fn uses(self, dimension: Dimension) -> bool {
        self.0 >> (32 + dimension as u64) & 1 != 0
    }

    /// Returns the number of words that the sets use.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> u64 {
        self.0 >> 48 & 0x7f
    }

    /// Returns the place of a rule in `sv_rules` and `sv_rule_stats`. Two policies
    /// have room there: this one and the one before.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self, rule: u32) -> u32 {
        (self.generation() & 1) * SLOTS + rule
    }

    /// Returns the place of a port in `sv_rule_ports`, likewise.
    #[inline(always)]
    #[must_use]
    pub const fn port(self, port: u16) -> u32 {
        (self.generation() & 1) * PORTS + port as u32
    }
}

/// A property of connections that rules may restrict. Its number is that of its
/// bit in [`Active`].
#[repr(u32)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromZeros, Immutable, IntoBytes,
)]
pub enum Dimension {
    /// Ports, in `sv_rule_ports`.
    Port = 0,
    /// Addresses, in `sv_rule_nets`.
    Address = 1,
    /// The cgroup of the end, by id: in `sv_rule_names`.
    Cgroup = 2,
    /// The network namespace of the end, by number: in `sv_rule_values`.
    Namespace = 3,
    /// The user of the end: in `sv_rule_values`.
    Uid = 4,
    /// The group of the end: in `sv_rule_values`.
    Gid = 5,
    /// The executable of the process that reads the end, by inode and version: in
    /// `sv_rule_names`.
    Executable = 6,
}

/// A set of rules.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct Set {
    /// Bit `w` is 1 when `words[w]` is not 0.
    pub summary: u64,
    /// Bit `r % 64` of word `r / 64` is 1 for a rule `r` of the set.
    pub words: [u64; WORDS],
}

/// Key of a set in `sv_rule_sets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct SetKey {
    /// The generation of the policy.
    pub generation: u32,
    /// The number of the set.
    pub set: u32,
}

/// The sets of a port; 0 in none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct PortSets {
    /// As the server's port.
    pub server: u16,
    /// As the client's port.
    pub client: u16,
    /// As either's.
    pub either: u16,
    /// Makes it 8 bytes.
    pub reserved: u16,
}

/// Key of an address in `sv_rule_nets`, behind the length of the prefix in bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct NetKey {
    /// The generation of the policy. It is part of every prefix.
    pub generation: u32,
    /// The address in network byte order; IPv4 is mapped to IPv6.
    pub address: [u32; 4],
}

/// The sets of an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct NetSets {
    /// As the server's address.
    pub server: u32,
    /// As the client's address.
    pub client: u32,
    /// As either's.
    pub either: u32,
}

/// Key of a value in `sv_rule_values` and `sv_rule_names`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromZeros, Immutable, IntoBytes)]
pub struct NameKey {
    /// The value; [`UNNAMED`] gives the rules that do not restrict the dimension.
    pub value: u64,
    /// Of an executable, whose value is its inode:
    /// [`Process::version`](super::reader::Process::version); 0 elsewhere.
    pub version: u64,
    /// The generation of the policy.
    pub generation: u32,
    /// The dimension.
    pub dimension: Dimension,
}

/// What a rule says of the connections that it matches, from the most liberal to
/// the strictest.
#[repr(u32)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromZeros,
    Immutable,
    IntoBytes,
)]
pub enum Action {
    /// Enrol at the handshake, or later.
    #[default]
    Eager = 0,
    /// Enrol in mid-life, after proof.
    Adopt = 1,
    /// Not known yet: enrol nothing until it is.
    Undecided = 2,
    /// Enrol nothing, and count what would be enrolled.
    Observe = 3,
    /// Enrol nothing.
    Off = 4,
}

/// A rule, as far as it is applied and not matched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub struct RuleInfo {
    /// What it says.
    pub action: Action,
    /// Pairs that it lets be enrolled at once; 0 for any number.
    pub max_pairs: u32,
    /// What it vouches for: bits, see [`NO_SPLICE`].
    pub assume: u32,
}

/// A vouch: the programs do not call splice(2) on sockets that they read.
pub const NO_SPLICE: u32 = 1;

/// The counters of a rule. A pair counts for the rule of each of its ends; once
/// when both ends have the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[cfg_attr(feature = "user", derive(serde::Serialize))]
pub struct RuleStats {
    /// Pairs that it has decided about.
    pub pairs: u64,
    /// Pairs that were enrolled.
    pub enrolled: u64,
    /// Pairs that are enrolled now, or about to be.
    pub now: u64,
    /// Pairs that would have been enrolled, had they not been observed only.
    pub observed: u64,
    /// Pairs that found the rule's limit reached.
    pub full: u64,
    /// Bytes that ends of it have redirected.
    pub fast_bytes: u64,
    /// Bytes that ends of it have sent by the stack.
    pub stack_bytes: u64,
}

/// Key of a piece of the text that a policy was written in.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct TextKey {
    /// The generation of the policy.
    pub generation: u32,
    /// The number of the piece.
    pub piece: u32,
}

/// A piece of it. The last one ends with a 0.
pub type Piece = [u8; PIECE];
