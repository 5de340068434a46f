//! The two ends of a connection in `sv_pairs`.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::{
    reason::Reason,
    record::{
        flow::Flow,
        pair::{End, EndKey, HandshakeId, Side},
    },
};

use crate::{count::count, kernel::sock::Sock, maps::sv_pairs};

const EEXIST: i32 = 17;

/// Returns the entry of the own end, to be written: nobody else writes or
/// deletes it. There is none when another connection came first with the same
/// id.
#[inline(always)]
pub fn own_of(flow: &Flow) -> Option<&'static mut End> {
    let key = EndKey {
        id: flow.id,
        side: flow.side,
    };
    let end = sv_pairs.get_ptr_mut(&key)?;
    // SAFETY: the entry lives until the own socket, whose lock is held,
    // deletes it.
    let end = unsafe { &mut *end };
    (end.cookie == flow.cookie).then_some(end)
}

/// Returns a copy of the peer's end, which is not known when the peer has none.
///
/// Its owner may delete the entry, and the map use it again, while it is
/// copied. An id never comes back. So a second look-up that finds it shows that
/// the entry was the peer's all the time.
#[inline(always)]
pub fn peer_of(flow: &Flow) -> End {
    let key = EndKey {
        id: flow.id,
        side: flow.side.other(),
    };
    let mut copy = End::default();
    if let Some(end) = sv_pairs.get_ptr(&key) {
        // SAFETY: an entry of a preallocated map, readable whoever owns it
        // now. Volatile, so that the copy is complete before the look-up.
        copy = unsafe { core::ptr::read_volatile(end) };
        if sv_pairs.get_ptr(&key).is_none() {
            copy.cookie = 0;
        }
    }
    copy
}

/// Begins the flow of a socket whose handshake is known, and enters its end.
/// Returns false when that was not possible; the flow then has the reason.
#[inline(always)]
pub fn begin(
    flow: &mut Flow,
    id: HandshakeId,
    side: Side,
    cookie: u64,
    sock: Sock,
    place: u32,
) -> bool {
    *flow = Flow {
        id,
        side,
        cookie,
        reason: Reason::TooShort,
        place,
        ..Flow::after(flow)
    };
    let end = End {
        cookie,
        sock: sock.0,
        flow: core::ptr::from_mut(flow) as u64,
        place,
        ..End::default()
    };
    let entered = enter(flow, &end);
    if !entered {
        // Its pair is counted where it is watched.
        flow.cookie = 0;
    }
    entered
}

#[inline(always)]
fn enter(flow: &mut Flow, end: &End) -> bool {
    let key = EndKey {
        id: flow.id,
        side: flow.side,
    };
    match sv_pairs.insert(&key, end, u64::from(BPF_NOEXIST)) {
        Ok(()) => true,
        Err(error) => {
            if error == -EEXIST {
                flow.reason = Reason::IdTaken;
            } else {
                flow.reason = Reason::MapFull;
                count!(pairs_full);
            }
            false
        }
    }
}

/// Deletes the own end, if it was entered.
#[inline(always)]
pub fn forget(flow: &Flow) {
    if own_of(flow).is_none() {
        return;
    }
    let key = EndKey {
        id: flow.id,
        side: flow.side,
    };
    // Nobody else deletes it, so it is still there.
    let _ = sv_pairs.remove(&key);
}
