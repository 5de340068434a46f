//! Vouches: what an operator says that programs do not do, and programs that do it
//! all the same.
//!
//! A program that splices an enrolled socket gets nothing, and may wait for ever. Where
//! somebody has vouched that it does not, its vouch is void from then on
//! (`vouch_void`, among its habits), and the visit that lets the socket go resets the
//! connection if bytes are left in it.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::Side,
        policy::NO_SPLICE,
        watch::{Watched, WatchedEnd},
    },
    rule::vouch,
};

use super::habits;
use crate::{
    count::count,
    kernel::sock::Sock,
    maps::{sv_config, sv_spliced, sv_wake, sv_watched},
    program::reader::Seat,
};

/// Returns what is vouched for of the program of an end, by the number that names it.
#[inline(always)]
pub fn of(known: u32) -> u32 {
    sv_watched.get_ptr(known >> 1).map_or(0, |pair| {
        // SAFETY: a place of the array, one word of it.
        of_pair(unsafe { (*pair).assume }, Side::of(known))
    })
}

/// The same for a pair in which both words are.
#[inline(always)]
fn of_pair(both: u32, side: Side) -> u32 {
    let always = sv_config.get(0).map_or(0, |config| config.assume);
    always | vouch::of(both, side)
}

/// Takes note of a socket that is spliced; `seat` is where it is watched. Returns true
/// when that makes a vouch void.
///
/// A socket that a handshake has enrolled may not be watched yet. Whether somebody
/// has vouched for its program is then found by the first look.
#[inline(always)]
pub fn spliced(sock: Sock, cookie: u64, seat: Option<Seat>) -> bool {
    let Some(seat) = seat else {
        if sock.has_storage() {
            note(cookie, sock);
        }
        return false;
    };
    // A socket that was never enrolled was spliced as plain TCP.
    if seat.end().is_some_and(|end| end.flow != 0) {
        note(cookie, sock);
    }
    if of(seat.known()) & NO_SPLICE == 0 {
        return false;
    }
    if habits::keep_off(sock, seat.side(), Reason::VouchVoid) {
        count!(vouches_void);
    }
    true
}

#[inline(always)]
fn note(cookie: u64, sock: Sock) {
    let new = sv_spliced.insert(&cookie, &1, u64::from(BPF_NOEXIST));
    if new.is_ok() {
        // Its program may be known for it already.
        let _ = sv_wake.output(&sock.cgroup(), 0);
    }
}

/// Makes the vouch for an end void whose program is known to splice, when it has done
/// so on this socket before it was known who vouches. Returns what is to be held
/// against the end.
#[inline(always)]
pub fn after_habit(known: u32, cookie: u64, sock: Sock, shown: Reason) -> Reason {
    if !matches!(shown, Reason::Splice)
        || of(known) & NO_SPLICE == 0
        || sv_spliced.get_ptr(&cookie).is_none()
    {
        return shown;
    }
    habits::replace(sock, Side::of(known), Reason::VouchVoid);
    count!(vouches_void);
    Reason::VouchVoid
}

/// True when an end that leaves has to be reset, see [`vouch::is_stuck`].
#[inline(always)]
pub fn is_stuck(pair: &Watched, side: Side) -> bool {
    let end: &WatchedEnd = pair.end(side);
    let sock = Sock(end.sock);
    let psock = sock.psock();
    let denied =
        matches!(pair.leave, Reason::VouchVoid) || of_pair(pair.assume, side) & NO_SPLICE != 0;
    vouch::is_stuck(
        sv_spliced.get_ptr(&end.cookie).is_some(),
        denied,
        psock.exists() && !psock.queue_empty() && !psock.holds_end_alone(),
    )
}
