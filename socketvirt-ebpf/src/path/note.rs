//! Note: finds pairs at the handshake, and gives each a place among the watched
//! ones.
//!
//! The end that comes first leaves word under the handshake id, and the other
//! finds it. Nothing else is done here. A socket whose peer is on another host
//! has no record. One that is closed before the agent looks costs a few stores.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::{HandshakeId, Side},
        watch::{NOTED_ENDS, NOTES, NOWHERE, Noted, PAIRS, Stage, Watched, WatchedEnd},
    },
};

use crate::{
    count::{count, next},
    filter,
    kernel::sock::Sock,
    maps::{
        sv_ends, sv_fresh, sv_noted, sv_notes, sv_places, sv_tiers, sv_waiting, sv_wake, sv_watched,
    },
};

/// Notes an end whose handshake is complete: enters the pair if its peer has
/// left word, and leaves word otherwise. Returns the pair's place; [`NOWHERE`]
/// while there is none.
#[inline(always)]
pub fn end(id: HandshakeId, side: Side, cookie: u64, sock: Sock) -> u32 {
    let Some(word) = sv_waiting.get_ptr_mut(slot(id)) else {
        return NOWHERE;
    };
    // SAFETY: an entry of an array, which others may write at the same time. A
    // torn word names no socket, as its cookie tells, or the wrong one, as the
    // packet hash tells.
    let word = unsafe { &mut *word };
    if word.id == id && word.side == side.other() && word.cookie != 0 {
        let peer = (word.cookie, Sock(word.sock));
        word.cookie = 0;
        return match side {
            Side::Client => pair(id, (cookie, sock), peer, Counted::All),
            Side::Server => pair(id, peer, (cookie, sock), Counted::All),
        };
    }
    *word = Noted {
        id,
        cookie,
        sock: sock.0,
        side,
        reserved: 0,
    };
    NOWHERE
}

/// Returns where word of a handshake is left. Both numbers are hashes already.
#[inline(always)]
fn slot(id: HandshakeId) -> u32 {
    (id.client_seq ^ id.server_seq.rotate_left(16)) & (NOTED_ENDS - 1)
}

/// Which bytes and messages of a pair are counted.
#[derive(Clone, Copy)]
pub enum Counted {
    /// All that its ends have sent.
    All,
    /// Those from now on.
    New,
}

/// Gives a pair its place; [`NOWHERE`] when there is none left.
#[inline(always)]
pub fn pair(id: HandshakeId, client: (u64, Sock), server: (u64, Sock), counted: Counted) -> u32 {
    let place = free_place();
    let Some(pair) = sv_watched.get_ptr_mut(place) else {
        count!(pairs_full);
        // Places of pairs that are over are free after a sweep, which an agent
        // that watches nothing does not make by itself.
        wake();
        return NOWHERE;
    };
    let end = |(cookie, sock): (u64, Sock)| {
        let (bytes, messages) = (sock.bytes_sent(), sock.data_segments_out());
        let (counted_bytes, counted_messages) = match counted {
            Counted::All => (0, 0),
            Counted::New => (bytes, messages),
        };
        WatchedEnd {
            cookie,
            sock: sock.0,
            // Bytes sent before the first look are measured; those before an agent came are not.
            bytes,
            messages,
            counted_bytes,
            counted_messages,
            reason: Reason::TooShort,
            ..WatchedEnd::default()
        }
    };
    // SAFETY: the place is nobody else's, and `stage` is written last.
    unsafe {
        *pair = Watched {
            id,
            ends: [end(client), end(server)],
            // SAFETY: takes nothing.
            active_at: bpf_ktime_get_ns(),
            seen: 1,
            ..Watched::default()
        };
        core::ptr::write_volatile(&raw mut (*pair).stage, Stage::Plain);
    }
    filter::enter(client.0);
    filter::enter(server.0);
    // From here on the habits of its programs are remembered, also before the
    // agent has looked. With a full map the first look tries again, and counts it.
    let _ = sv_ends.insert(&client.0, &(place << 1 | Side::Client as u32), 0);
    let _ = sv_ends.insert(&server.0, &(place << 1 | Side::Server as u32), 0);
    count!(pairs);
    if let Some(stats) = crate::count::stats() {
        stats.followed += 2;
    }
    tell(place);
    place
}

/// Returns a place that was freed, or was never used.
#[inline(always)]
fn free_place() -> u32 {
    if let Ok(Some(place)) = sv_places.pop() {
        return place;
    }
    let Some(fresh) = sv_fresh.get_ptr_mut(0) else {
        return NOWHERE;
    };
    // SAFETY: one word; a full array is asked no further.
    if unsafe { *fresh } >= u64::from(PAIRS) {
        return NOWHERE;
    }
    (next(fresh) - 1) as u32
}

/// Tells the agent of a new pair, and wakes it if it sleeps.
#[inline(always)]
fn tell(place: u32) {
    let Some(noted) = sv_noted.get_ptr_mut(0) else {
        return;
    };
    let number = next(noted) - 1;
    if let Some(note) = sv_notes.get_ptr_mut(number as u32 & (NOTES - 1)) {
        // Its number tells whether it is the one that is expected here.
        // SAFETY: one word.
        unsafe { *note = number << 32 | u64::from(place) };
    }
    wake();
}

/// Wakes the agent if it sleeps.
#[inline(always)]
pub fn wake() {
    let Some(tiers) = sv_tiers.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: one word, which the agent writes too; to wake it twice does no
    // harm.
    unsafe {
        if core::ptr::read_volatile(&raw const (*tiers).asleep) != 0 {
            core::ptr::write_volatile(&raw mut (*tiers).asleep, 0);
            let _ = sv_wake.output(&0_u64, 0);
        }
    }
}
