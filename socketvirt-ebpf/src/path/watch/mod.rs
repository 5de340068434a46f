//! Watch: looks at the watched pairs without their sockets' locks, and says
//! which of them want to change.
//!
//! A look measures what the ends have sent, judges whether that is worth it,
//! and asks what speaks against the fast path. It writes nothing of a socket: a
//! pair that wants to change waits for a locked visit ([`super::act`]).
//!
//! A run ([`runs`]) makes many looks. Each is one of a pair without an enrolled
//! end ([`plain`]) or with one ([`enrolled`]). A pair comes to its place, and goes,
//! in [`place`]. Its receive calls are recorded, or not, by [`sight`].

mod enrolled;
mod place;
mod plain;
mod runs;
mod sight;

use socketvirt_common::{
    record::{
        config::{Config, Mode},
        pair::Side,
        watch::{Stage, Tiers, Want, Watched, WatchedEnd},
    },
    rule::{adoption, worth::Sent},
};

pub use self::runs::run;
use crate::{
    count,
    maps::{sv_config, sv_places, sv_spaces, sv_tiers, sv_watched},
    policy::judge,
};

/// The state that the look at one pair needs.
struct Look<'a> {
    now: u64,
    config: &'a Config,
    tiers: &'a mut Tiers,
    place: u32,
}

/// Looks at the pair of a place, and says whether it shall be looked at again
/// soon.
///
/// The verifier looks at this function by itself, and once: not again for each
/// turn of those that call it. (K-BPF-9 in `docs/kernel`.)
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_look(place: u32, now: u64, sweep: u32) -> u32 {
    judge::refresh(place);
    let Some(pair) = sv_watched.get_ptr_mut(place) else {
        return 0;
    };
    // SAFETY: the agent's programs run one at a time; elsewhere a place is
    // written before it is noted, and single words of it.
    let pair = unsafe { &mut *pair };
    match pair.stage {
        Stage::Free => 0,
        Stage::Over => {
            if sweep != 0 {
                // Before it is in the queue: the next pair may have it in the same moment.
                pair.stage = Stage::Free;
                if sv_places.push(place, 0).is_err() {
                    pair.stage = Stage::Over;
                }
            }
            0
        }
        Stage::Plain => plain::sv_plain(place, now, sweep),
        Stage::Enrolled | Stage::Leaving => enrolled::sv_enrolled(place, now, sweep),
    }
}

/// Adds what the ends of a pair have sent and is not among the counters yet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_sum(place: u32) -> u32 {
    if let (Some(pair), Some(tiers)) = (sv_watched.get_ptr_mut(place), sv_tiers.get_ptr_mut(0)) {
        // SAFETY: the agent's programs run one at a time; others write single words.
        let (pair, tiers) = unsafe { (&mut *pair, &mut *tiers) };
        let [client, server] = &mut pair.ends;
        count::add_live(&mut tiers.live, client);
        count::add_live(&mut tiers.live, server);
    }
    0
}

impl Look<'static> {
    /// Returns what the look at a place needs.
    #[inline(always)]
    fn of(place: u32, now: u64) -> Option<(Self, &'static mut Watched)> {
        let pair = sv_watched.get_ptr_mut(place)?;
        let config = sv_config.get(0)?;
        let tiers = sv_tiers.get_ptr_mut(0)?;
        // SAFETY: the agent's programs run one at a time; elsewhere a place is
        // written before it is noted, and single words of it.
        let (pair, tiers) = unsafe { (&mut *pair, &mut *tiers) };
        let look = Self {
            now,
            config,
            tiers,
            place,
        };
        Some((look, pair))
    }
}

impl Look<'_> {
    /// Returns the number that names an end among the watched ones.
    #[inline(always)]
    fn known(&self, side: Side) -> u32 {
        self.place << 1 | side as u32
    }

    /// Makes both ends wait for a visit under their locks.
    #[inline(always)]
    fn want(&mut self, pair: &mut Watched, want: Want) {
        pair.want = want;
        if pair.visits == 0 {
            pair.wanted_at = self.now;
        }
        pair.visits += 1;
        let [client, server] = &mut pair.ends;
        wait(client, self.tiers);
        wait(server, self.tiers);
    }

    /// True when visits have not brought what is wanted.
    #[inline(always)]
    fn in_vain(&self, pair: &Watched) -> bool {
        adoption::in_vain(pair.visits, self.now - pair.wanted_at)
    }

    /// True when nothing is adopted any more.
    #[inline(always)]
    fn is_off(&self) -> bool {
        matches!(self.config.mode, Mode::Off) || self.config.draining != 0
    }
}

/// Returns what was sent since measuring began.
#[inline(always)]
fn since(end: &WatchedEnd, total: &Sent) -> Sent {
    Sent {
        bytes: total.bytes - end.bytes,
        messages: total.messages.wrapping_sub(end.messages),
    }
}

/// Begins measuring anew.
#[inline(always)]
fn measure_from(end: &mut WatchedEnd, total: &Sent) {
    end.bytes = total.bytes;
    end.messages = total.messages;
}

/// Makes an end wait for a visit.
#[inline(always)]
fn wait(end: &mut WatchedEnd, tiers: &mut Tiers) {
    if end.waits != 0 {
        return;
    }
    end.waits = 1;
    tiers.waiting += 1;
    if let Some(waiting) = sv_spaces.get_ptr_mut(&end.netns) {
        // SAFETY: one word, which the agent's programs alone write.
        unsafe { *waiting += 1 };
    } else {
        // With a full map it is visited when there is room again.
        let _ = sv_spaces.insert(&end.netns, &1, 0);
    }
}

/// Lets an end wait no longer.
#[inline(always)]
pub fn served(end: &mut WatchedEnd, tiers: &mut Tiers) {
    if end.waits == 0 {
        return;
    }
    end.waits = 0;
    tiers.waiting = tiers.waiting.saturating_sub(1);
    if let Some(waiting) = sv_spaces.get_ptr_mut(&end.netns) {
        // SAFETY: one word, which the agent's programs alone write.
        unsafe { *waiting = (*waiting).saturating_sub(1) };
    }
}
