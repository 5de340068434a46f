//! The tiers: which pairs the agent watches, and what it wants to change.
//!
//! *Note* finds a pair at its handshake and gives it a place in a dense array.
//! *Watch* looks at these places without a socket's lock. *Act* visits the
//! sockets of a pair that wants to change, under their locks.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::{
    flow::Traffic,
    pair::{HandshakeId, Side},
    policy::Action,
};
use crate::reason::Reason;

/// Pairs that can be watched at once.
pub const PAIRS: u32 = 131_072;

/// Pairs that are looked at often, at most; the others wait for a sweep.
pub const HOT: u32 = 8_192;

/// Notes that wait for the next look, at most. The next sweep finds what is
/// written over. A power of two.
pub const NOTES: u32 = 16_384;

/// Ends that are remembered until the handshake of their peer is complete too. A
/// power of two.
pub const NOTED_ENDS: u32 = 16_384;

/// Counters of the filter of watched ends. A power of two.
pub const FILTER: u32 = 32_768;

/// No place in the array.
pub const NOWHERE: u32 = u32::MAX;

/// An end whose handshake is complete. Its peer looks for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct Noted {
    /// Names the connection.
    pub id: HandshakeId,
    /// Cookie of the socket; 0 once the peer has come.
    pub cookie: u64,
    /// Address of the socket in the kernel.
    pub sock: u64,
    /// The end that it is.
    pub side: Side,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

/// An end that the walk at the start has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct Seen {
    /// Cookie of the socket.
    pub cookie: u64,
    /// Address of the socket in the kernel.
    pub sock: u64,
}

/// A file with several references.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct Shared {
    /// The pair's place, doubled, and 1 more for the server's end.
    pub end: u32,
    /// Number of references that it has.
    pub references: u32,
}

/// The stage of a pair.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Stage {
    /// Nobody's place.
    #[default]
    Free = 0,
    /// Neither end is enrolled.
    Plain = 1,
    /// At least one end is enrolled.
    Enrolled = 2,
    /// Both ends have stopped redirecting, and leave.
    Leaving = 3,
    /// The connection is over. The place is free at the next sweep, when nobody
    /// can have it in hand any more.
    Over = 4,
}

/// The change for which a pair waits for a locked visit.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Want {
    /// Nothing.
    #[default]
    Nothing = 0,
    /// To be enrolled.
    Adopt = 1,
    /// To be released, or freed of what keeps it from that.
    Release = 2,
    /// To be woken, see `wake_starved`.
    Wake = 3,
}

/// One end of a watched pair. Written by the agent's own programs, one at a
/// time, but for `reader`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct WatchedEnd {
    /// Socket cookie.
    pub cookie: u64,
    /// Address of the socket in the kernel; valid while the socket there has
    /// this cookie.
    pub sock: u64,
    /// The process that received from the socket last, as far as calls were recorded,
    /// see [`crate::record::reader`]; 0 before the first. Written where it receives.
    pub reader: u64,
    /// Address of the socket's flow in the kernel, 0 while it has none.
    pub flow: u64,
    /// Bytes sent when the time under measurement began.
    pub bytes: u64,
    /// Bytes that are among the counters.
    pub counted_bytes: u64,
    /// Redirected bytes that are among the counters of its rule.
    pub ruled_bytes: u64,
    /// Messages sent when the time under measurement began.
    pub messages: u32,
    /// Messages that are among the counters.
    pub counted_messages: u32,
    /// Number of the network namespace (`ns_common.inum`).
    pub netns: u32,
    /// The reason that the end is not enrolled.
    pub reason: Reason,
    /// References to the socket's file, up to which every holder is known.
    pub holders: u32,
    /// 1 while a locked visit is waited for.
    pub waits: u32,
    /// 1 once no redirect of this end can be under way while the pair leaves.
    pub quiet: u32,
    /// The reason for which one of several holders keeps the end on the stack.
    /// The agent writes this and `holders`.
    pub holder: Reason,
    /// The place of the policy's rule for this end in `sv_rule_stats`, and 1 more; 0
    /// without one.
    pub rule: u32,
    /// The mark of what the rule was chosen by ([`crate::rule::policy::mark`]).
    pub mark: u32,
}

/// A pair that is watched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct Watched {
    /// The connection.
    pub id: HandshakeId,
    /// The client, and the server.
    pub ends: [WatchedEnd; 2],
    /// The time at which measuring began, nanoseconds.
    pub since: u64,
    /// The time from which the pair may be adopted again, nanoseconds.
    pub not_before: u64,
    /// The time at which traffic was last seen, nanoseconds.
    pub active_at: u64,
    /// The time at which the first of [`Watched::visits`] was asked for, nanoseconds.
    pub wanted_at: u64,
    /// The time since which nothing lasting speaks against the pair, nanoseconds; 0
    /// while something does, and once it was enrolled.
    pub asked_at: u64,
    /// Its stage.
    pub stage: Stage,
    /// The change that it waits for.
    pub want: Want,
    /// The reason for which it leaves, or left last.
    pub leave: Reason,
    /// 1 while neither end may redirect: read at every message.
    pub stopped: u32,
    /// 1 once the traffic has proved worth it.
    pub worthy: u32,
    /// Number of times that the pair was released.
    pub releases: u32,
    /// Locked visits that have not brought what is wanted.
    pub visits: u32,
    /// 1 while the pair is among the hot ones.
    pub hot: u32,
    /// 1 when measuring has to begin anew, because messages are counted
    /// otherwise from now on.
    pub rebase: u32,
    /// The generation of the policy that `action` is of; 0 without one, or while
    /// it shall be asked again.
    pub policy: u32,
    /// What the policy says; without one, anything goes.
    pub action: Action,
    /// The generation of the policy whose rules count the pair as enrolled; 0 while
    /// none does.
    pub seat: u32,
    /// 1 once the pair was counted as observed.
    pub observed: u32,
    /// 1 while receive calls on its sockets are recorded; not while something lasting keeps
    /// it on the stack.
    pub seen: u32,
    /// What the policy vouches for of the programs of both ends, as
    /// [`vouch::put`](crate::rule::vouch::put) has put it together.
    pub assume: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

/// The state that the tiers share: of a look that goes on, and what it found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct Tiers {
    /// 1 while the agent sleeps until a note wakes it.
    pub asleep: u64,
    /// Notes that were taken in.
    pub taken: u64,
    /// The time of the last look at a pair that needs receive calls watched, though it
    /// is not on the fast path: it waits for nothing but to know who reads it, or has
    /// not left yet. Nanoseconds; 0 before the first.
    pub needy_at: u64,
    /// Hot pairs.
    pub hot: u32,
    /// Pairs that are watched.
    pub pairs: u32,
    /// Pairs of which an end is enrolled.
    pub enrolled: u32,
    /// Ends that wait for a locked visit.
    pub waiting: u32,
    /// Ends that wait for one in the namespace that is being walked.
    pub waiting_here: u32,
    /// Looks that met a reader that was not inspected, or shall be again.
    pub uninspected: u32,
    /// Looks that met a name that the policy in force was not asked for yet.
    pub unnamed: u32,
    /// Looks that met a file with unknown holders.
    pub shared: u32,
    /// Hot pairs that stay so, in the run that goes on.
    pub kept: u32,
    /// 1 while receive calls are not watched: who reads may be another by now.
    pub blind: u32,
    /// Traffic of sockets with a flow that is not among the counters yet, as of
    /// the sweep under way.
    pub live: Traffic,
}

/// The work of one run of the watch program: its second argument, after the
/// time.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Takes in what was noted, up to the third argument of them.
    Notes = 0,
    /// Looks at the hot pairs, once.
    Hot = 1,
    /// Looks at the places from the third argument on, as many as the fourth.
    Sweep = 2,
    /// Says that the agent watches, see [`crate::rule::watched`].
    Beat = 3,
}

impl Watched {
    /// Returns an end by its side.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self, side: Side) -> &WatchedEnd {
        match side {
            Side::Client => &self.ends[0],
            Side::Server => &self.ends[1],
        }
    }

    /// The same, to be changed.
    #[inline(always)]
    #[must_use]
    pub const fn end_mut(&mut self, side: Side) -> &mut WatchedEnd {
        match side {
            Side::Client => &mut self.ends[0],
            Side::Server => &mut self.ends[1],
        }
    }
}
