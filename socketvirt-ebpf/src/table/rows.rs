//! The rows that an agent keeps in `sv_sockets`, from one look to the next.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_ns};
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::Enrolment,
        row::{Row, State},
        status::Status,
    },
};

use super::events;
use crate::maps::sv_sockets;

/// A row of which nothing is known, to insert.
#[unsafe(no_mangle)]
static EMPTY_ROW: Row = Row::EMPTY;

/// 1 when the agent keeps rows. Otherwise the programs only write them to their
/// reader. The agent writes it.
#[unsafe(no_mangle)]
pub static KEEP: u32 = 0;

/// True when rows are kept.
#[inline(always)]
pub fn are_kept() -> bool {
    // SAFETY: a static, which the agent replaces.
    unsafe { core::ptr::read_volatile(&raw const KEEP) != 0 }
}

/// Returns the row of a socket, if there is one.
#[inline(always)]
pub fn known(id: u64) -> Option<&'static mut Row> {
    let row = sv_sockets.get_ptr_mut(&id)?;
    // SAFETY: lives while the program runs. Others may write it at the same
    // time, word by word, which a table for people can bear.
    Some(unsafe { &mut *row })
}

/// Returns the row of a socket, made when missing and while there is room.
#[inline(always)]
pub fn made(id: u64) -> Option<&'static mut Row> {
    if let Some(row) = known(id) {
        return Some(row);
    }
    let _ = sv_sockets.insert(&id, &EMPTY_ROW, u64::from(BPF_NOEXIST));
    let row = known(id)?;
    row.id = id;
    Some(row)
}

/// Returns the time, of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// Gives a row the status that a scan has found. A socket that is closed stays
/// so.
#[inline(always)]
fn set(row: &mut Row, status: Status) {
    let at = now();
    row.seen = at;
    let before = row.status;
    if matches!(before, Status::TERMINATED) && row.history.taken != 0 {
        return;
    }
    row.status = status;
    if row.history.taken != 0 && !before.is_step(status) {
        return;
    }
    let from = if row.history.taken == 0 {
        status
    } else {
        before
    };
    row.history.note(at, status, true);
    events::scanned(row.id, from, status);
}

/// Keeps what a scan has found. Returns false when there is no room.
#[inline(always)]
pub fn keep(found: &Row) -> bool {
    // A socket that is over is shown only if it was seen before.
    let over = matches!(found.status, Status::TERMINATED);
    let row = if over {
        known(found.id)
    } else {
        made(found.id)
    };
    let Some(row) = row else { return over };
    if !found.is_mini() {
        row.options = found.options;
        // Only the keeper writes what an agent knows of its path.
        if matches!(row.send.enrolment, Enrolment::None) && matches!(row.send.reason, Reason::None)
        {
            row.send = found.send;
        }
        row.send_queue = found.send_queue;
        row.receive_queue = found.receive_queue;
        row.connection_queue = found.connection_queue;
        row.owner.cgroup = found.owner.cgroup;
        row.owner.inode = found.owner.inode;
        row.owner.uid = found.owner.uid;
        row.shutdown = found.shutdown;
        row.error = found.error;
        row.reader_waits = found.reader_waits;
        row.trace.sock = found.trace.sock;
        row.trace.peer_sock = found.trace.peer_sock;
        row.trace.snd_nxt = found.trace.snd_nxt;
        row.trace.rcv_nxt = found.trace.rcv_nxt;
        if row.trace.handshake.client_seq == 0 && row.trace.handshake.server_seq == 0 {
            row.trace.handshake = found.trace.handshake;
        }
    }
    row.state = found.state;
    row.local = found.local;
    row.remote.address = found.remote.address;
    row.remote.port = found.remote.port;
    if row.remote.id == 0 {
        row.remote.id = found.remote.id;
    }
    // A child shows SYN_RECV for a moment after its handshake is complete.
    let behind =
        matches!(found.state, State::SYN_RECV | State::NEW_SYN_RECV) && row.history.taken != 0;
    if behind {
        row.seen = now();
    } else {
        set(row, found.status);
    }
    true
}
