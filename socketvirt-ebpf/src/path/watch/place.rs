//! The place of a pair: what its first look makes, and its end takes away.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::record::{
    pair::{EndKey, HandshakeId, Side},
    watch::{Stage, Want, Watched, WatchedEnd},
};

use super::{Look, served, sight::unsee};
use crate::{
    count::{self, count},
    kernel::sock::Sock,
    maps::{sv_ends, sv_pairs, sv_watched},
    policy,
};

/// Makes the first look at a pair: it can be found by its sockets from now on. 0
/// when it has a place already, and this one is to be freed. ([`sv_over`] is for the
/// caller to call: all frames of a chain share one stack.)
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_first(place: u32, now: u64) -> u32 {
    Look::of(place, now).map_or(0, |(mut look, pair)| u32::from(look.first(pair)))
}

/// Frees the pair of a place: its connection is over.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_over(place: u32) -> u32 {
    if let Some((mut look, pair)) = Look::of(place, 0) {
        look.over(pair);
    }
    0
}

impl Look<'_> {
    #[inline(always)]
    fn first(&mut self, pair: &mut Watched) -> bool {
        let id = pair.id;
        let [client, server] = &mut pair.ends;
        let mut enrolled = false;
        if !self.enter(id, client, Side::Client, &mut enrolled)
            || !self.enter(id, server, Side::Server, &mut enrolled)
        {
            return false;
        }
        if enrolled {
            // A handshake has enrolled it, maybe one end alone.
            pair.stage = Stage::Enrolled;
            pair.rebase = 1;
        }
        // It may have been noted after this run began.
        pair.active_at = pair.active_at.min(self.now);
        pair.since = pair.active_at;
        self.tiers.pairs += 1;
        true
    }

    /// Enters one end of it; false when the pair has a place already.
    #[inline(always)]
    fn enter(
        &self,
        id: HandshakeId,
        end: &mut WatchedEnd,
        side: Side,
        enrolled: &mut bool,
    ) -> bool {
        let known = self.known(side);
        let new = sv_ends.insert(&end.cookie, &known, u64::from(BPF_NOEXIST));
        if new.is_err() && !again(id, end.cookie, known) {
            return false;
        }
        let sock = Sock(end.sock);
        if let Some(entry) = sv_pairs.get_ptr(&EndKey { id, side }) {
            // Of eager mode, whose handshakes make flows.
            // SAFETY: an entry of a preallocated map, single words of it.
            let entry = unsafe { &*entry };
            if entry.cookie == end.cookie {
                end.flow = entry.flow;
                *enrolled |= entry.enrolment.is_active();
            }
        }
        end.netns = sock.netns();
        true
    }

    /// Ends a pair whose connection is over: its place will be free.
    #[inline(always)]
    fn over(&mut self, pair: &mut Watched) {
        policy::count::leave_seat(pair);
        unsee(pair);
        let id = pair.id;
        let [client, server] = &mut pair.ends;
        self.forget(client, Side::Client, id.client_seq);
        self.forget(server, Side::Server, id.server_seq);
        if pair.since != 0 {
            self.tiers.pairs -= 1;
        }
        pair.want = Want::Nothing;
        pair.stage = Stage::Over;
    }

    #[inline(always)]
    fn forget(&mut self, end: &mut WatchedEnd, side: Side, first: u32) {
        served(end, self.tiers);
        let known = self.known(side);
        if sv_ends
            .get_ptr(&end.cookie)
            // SAFETY: one word.
            .is_some_and(|entry| unsafe { *entry } == known)
        {
            let _ = sv_ends.remove(&end.cookie);
        }
        // A socket with a flow is counted where it ends.
        if end.flow == 0 {
            count::of_ended(end, first);
            count::left_on_stack(end.reason);
        }
    }
}

/// Enters a socket that had a place before; that of an earlier connection gives
/// way. Returns false when it had none, or this connection has a place already.
#[inline(always)]
fn again(id: HandshakeId, cookie: u64, known: u32) -> bool {
    let Some(entry) = sv_ends.get_ptr_mut(&cookie) else {
        // It finds no room.
        count!(pairs_full);
        return false;
    };
    // SAFETY: one word.
    let before = unsafe { *entry };
    if before == known {
        return true;
    }
    if let Some(other) = sv_watched.get_ptr(before >> 1) {
        // SAFETY: the agent's programs run one at a time.
        if unsafe { (*other).id } == id {
            return false;
        }
    }
    // SAFETY: one word.
    unsafe { *entry = known };
    true
}
