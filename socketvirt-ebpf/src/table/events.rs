//! Writing notes.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use socketvirt_common::{
    reason::Reason,
    record::{
        event::{Note, What},
        status::Status,
    },
};

use crate::{
    count::next,
    maps::{sv_cursor, sv_events},
};

/// Slots of the ring, less one: a power of two, less one. The agent writes
/// it, with the size of the map.
#[unsafe(no_mangle)]
pub static NOTES_MASK: u32 = 0;

/// A note that is being written.
pub struct Pen {
    /// The note to be filled.
    pub note: &'static mut Note,
    seq: u64,
}

/// Takes the next slot of the ring.
#[inline(always)]
pub fn begin(id: u64, what: What) -> Option<Pen> {
    let cursor = sv_cursor.get_ptr_mut(0)?;
    let seq = next(cursor);
    // SAFETY: a static, which the agent replaces.
    let mask = unsafe { read_volatile(&raw const NOTES_MASK) };
    let note = sv_events.get_ptr_mut(seq as u32 & mask)?;
    // SAFETY: a slot of the ring is the writer's whose number it bears, until
    // others have gone all the way round. A reader sees that by the number.
    let note = unsafe { &mut *note };
    // SAFETY: a field. Readers rely on this order.
    unsafe { write_volatile(&raw mut note.seq, 0) };
    // SAFETY: takes nothing.
    note.at = unsafe { bpf_ktime_get_ns() };
    note.id = id;
    note.what = what;
    Some(Pen { note, seq })
}

impl Pen {
    /// Lets readers see the note.
    #[inline(always)]
    pub fn done(self) {
        // SAFETY: a field.
        unsafe { write_volatile(&raw mut self.note.seq, self.seq) };
    }
}

/// Notes what happened to a pair.
#[inline(always)]
pub fn of_pair(what: What, id: u64, peer: u64, reason: Reason) {
    if let Some(pen) = begin(id, what) {
        pen.note.peer = peer;
        pen.note.reason = reason;
        pen.done();
    }
}

/// Notes a status that a scan has found.
#[inline(always)]
pub fn scanned(id: u64, before: Status, after: Status) {
    if let Some(pen) = begin(id, What::SCANNED) {
        pen.note.before = before as u8;
        pen.note.after = after as u8;
        pen.done();
    }
}
