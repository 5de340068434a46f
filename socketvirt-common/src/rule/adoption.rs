//! Adoption: is a pair that is not enrolled enrolled now, does it wait, or is it
//! kept on the stack?
//!
//! Three questions follow one another, because each costs more than the one
//! before:
//!
//! 1. [`of_traffic`]: does the traffic of the pair gain from the fast path?
//! 2. [`against`]: does anything speak against one of its ends?
//! 3. [`of_ends`]: what follows from both answers?
//!
//! A look asks all three without the sockets' locks. The visit that enrols asks the
//! second again under the lock ([`goes_on`], [`against`]).

use super::{
    release,
    worth::{BULK_PAUSE, Worth},
};
use crate::{
    reason::Reason,
    record::{config::FIRST_PAUSE, stats::TIMES},
};

/// The time for which a pair without traffic is looked at often, nanoseconds.
pub const WARM: u64 = 2_000_000_000;

/// Visits after which a pair that is not what it wants to be waits...
pub const MOST_VISITS: u32 = 20;
/// ...if they went on for longer than this, nanoseconds.
pub const LONGEST_WANT: u64 = 200_000_000;

/// The time that a pair waits whose sockets no visit finds, nanoseconds.
pub const UNSEEN_PAUSE: u64 = release::pause(1, FIRST_PAUSE);

/// Returns the slot of a time to adoption, nanoseconds.
#[inline(always)]
#[must_use]
pub const fn slot(time: u64) -> usize {
    let mut slot = 0;
    while slot < TIMES.len() && time > TIMES[slot] {
        slot += 1;
    }
    slot
}

/// Returns the time since which a pair could be enrolled, after a look at the time `now`
/// (nanoseconds) that decided so: `asked_at`, if it could before, see
/// [`Watched::asked_at`](crate::record::watch::Watched::asked_at).
#[inline(always)]
#[must_use]
pub const fn asked_at(asked_at: u64, now: u64, decision: Decision) -> u64 {
    match decision {
        Decision::Enrol | Decision::Wait if asked_at == 0 => now,
        Decision::Enrol | Decision::Wait => asked_at,
        Decision::Keep | Decision::Pause => 0,
    }
}

/// The result of earlier looks at the traffic of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The traffic has proved worth it, and was not bulk since.
    pub worthy: bool,
    /// The time from which the pair may be adopted, nanoseconds.
    pub not_before: u64,
}

impl Standing {
    /// Takes in what a look at the time `now` (nanoseconds) found.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, worth: Worth, now: u64) -> Self {
        match worth {
            Worth::Quiet => self,
            Worth::Exchange => Self {
                worthy: true,
                ..self
            },
            Worth::Bulk => Self {
                worthy: false,
                not_before: later(self.not_before, now + BULK_PAUSE),
            },
        }
    }
}

#[inline(always)]
const fn later(one: u64, other: u64) -> u64 {
    if one > other { one } else { other }
}

/// True when a pair without new messages is looked at again soon, `idle`
/// nanoseconds after the last one.
#[inline(always)]
#[must_use]
pub const fn is_warm(idle: u64) -> bool {
    idle < WARM
}

/// The facts about a pair with new messages, of which no end is enrolled.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The kind of its traffic since measuring began.
    pub worth: Worth,
    /// Its standing, this look taken in.
    pub standing: Standing,
    /// The time of the look, nanoseconds.
    pub now: u64,
    /// Nothing is adopted any more: acceleration is off, or the agent leaves.
    pub off: bool,
    /// Another connection has the same handshake id.
    pub id_taken: bool,
}

/// The step that follows from the traffic of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Too little is known: measure on.
    Measure,
    /// Both ends stay on the stack for this reason.
    Keep(Reason),
    /// Both ends are to be asked.
    Ask,
}

/// Returns what the traffic of a pair leads to.
#[inline(always)]
#[must_use]
pub const fn of_traffic(pair: &Pair) -> Next {
    if matches!(pair.worth, Worth::Bulk) {
        Next::Keep(Reason::Bulk)
    } else if !pair.standing.worthy {
        Next::Measure
    } else if pair.now < pair.standing.not_before {
        Next::Keep(Reason::NotWorth)
    } else if pair.off {
        Next::Keep(Reason::Draining)
    } else if pair.id_taken {
        // The other connection came first, and stays as long as it lasts.
        Next::Keep(Reason::IdTaken)
    } else {
        Next::Ask
    }
}

/// The questions that one end which is not enrolled is asked, by [`against`].
///
/// An answer may cost the reading of many fields, or a look of the agent at a
/// process. So each is asked when no earlier one has decided.
pub trait End {
    /// Returns the habit of its program, see [`super::habit`].
    fn habit(&mut self) -> Reason;
    /// Returns what its options and its state say, see
    /// [`super::suitable::unsuitable`].
    fn unsuitable(&mut self) -> Reason;
    /// True when the kernel has done with its last enrolment, or there was none.
    fn is_done(&mut self) -> bool;
    /// Returns what its way of reading says, see
    /// [`super::suitable::unadoptable`].
    fn unadoptable(&mut self) -> Reason;
    /// Returns what the processes say that read or hold it.
    fn users(&mut self) -> Reason;
    /// True when its packets were seen to come from the peer, see
    /// [`PacketHash`](crate::record::pair::PacketHash).
    fn is_proved(&mut self) -> bool;
}

/// Returns why an end may not be enrolled now; [`Reason::None`] when it may.
#[inline(always)]
pub fn against(end: &mut impl End) -> Reason {
    let habit = end.habit();
    if !matches!(habit, Reason::None) {
        return habit;
    }
    let unsuitable = end.unsuitable();
    if !matches!(unsuitable, Reason::None) {
        return unsuitable;
    }
    if !end.is_done() {
        return Reason::TooSoon;
    }
    let unadoptable = end.unadoptable();
    if !matches!(unadoptable, Reason::None) {
        return unadoptable;
    }
    let users = end.users();
    if !matches!(users, Reason::None) {
        return users;
    }
    if !end.is_proved() {
        return Reason::PeerNotProved;
    }
    Reason::None
}

/// True for a reason that is about the moment: the pair is looked at again
/// soon.
#[inline(always)]
#[must_use]
pub const fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::None
            | Reason::Unread
            | Reason::ReaderAsleep
            | Reason::NotInspected
            | Reason::PeerNotProved
            | Reason::TooSoon
    )
}

/// The decision about a pair whose ends were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A visit under the locks enrols both ends, or the one that is ready.
    Enrol,
    /// It is looked at again soon: what speaks against an end passes.
    Wait,
    /// It is kept on the stack: what speaks against an end may last.
    Keep,
    /// It pauses ([`UNSEEN_PAUSE`]): visits do not find its sockets.
    Pause,
}

/// Returns what follows from the answers of both ends ([`against`]). `in_vain` says
/// that it was to be enrolled before, see [`in_vain`].
///
/// One end may go ahead while the other has bytes unread, which keep it from
/// being enrolled where they cannot come along. Of a busy pair on a single CPU one
/// end has them at each look, now this one, now the other.
#[inline(always)]
#[must_use]
pub const fn of_ends(one: Reason, other: Reason, in_vain: bool) -> Decision {
    let goes_ahead = matches!(
        (one, other),
        (Reason::None, Reason::None | Reason::Unread) | (Reason::Unread, Reason::None)
    );
    if goes_ahead && in_vain {
        Decision::Pause
    } else if goes_ahead {
        Decision::Enrol
    } else if passes(one) && passes(other) {
        Decision::Wait
    } else {
        Decision::Keep
    }
}

/// True when this many visits in the last `wanted_for` nanoseconds have not
/// brought what is wanted. Both have to be many, because looks follow each other
/// fast or slowly.
#[inline(always)]
#[must_use]
pub const fn in_vain(visits: u32, wanted_for: u64) -> bool {
    visits > MOST_VISITS && wanted_for > LONGEST_WANT
}

/// True when a visit under the lock goes on to enrol an end. A pair that was
/// `stopped` leaves; without a peer (`peer_cookie` 0), its memory is another's.
#[inline(always)]
#[must_use]
pub const fn goes_on(draining: bool, stopped: bool, peer_cookie: u64) -> bool {
    !draining && !stopped && peer_cookie != 0
}
