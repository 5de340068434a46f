//! The rows that an agent keeps in `sv_sockets`, from one look to the next.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::generated::bpf_ktime_get_ns,
};
use socketvirt_common::{
    event::What,
    row::{Row, State},
    status::Status,
};

use super::events::{self, count};
use crate::maps::{sv_ended, sv_sockets};

/// A row of which nothing is known, to insert.
#[unsafe(no_mangle)]
static EMPTY_ROW: Row = Row::EMPTY;

/// Rows of closed sockets that are given up for one new row, at most: one of
/// them may have been deleted by the agent already.
const ATTEMPTS: u32 = 4;

/// Whether the agent keeps rows. Without, the programs only write them to
/// their reader. Written by the loader.
#[unsafe(no_mangle)]
pub static KEEP: u32 = 0;

/// Whether rows are kept.
#[inline(always)]
pub fn are_kept() -> bool {
    // SAFETY: a static, which the loader replaces.
    unsafe { core::ptr::read_volatile(&raw const KEEP) != 0 }
}

/// The row of a socket, if there is one.
#[inline(always)]
pub fn known(id: u64) -> Option<&'static mut Row> {
    let row = sv_sockets.get_ptr_mut(&id)?;
    // SAFETY: lives while the program runs. Others may write it at the same
    // time, word by word, which a table for people can bear.
    Some(unsafe { &mut *row })
}

/// The row of a socket, made when missing. When the map is full, the oldest
/// rows of closed sockets make room; when there is none, the socket is counted
/// as missing.
#[inline(always)]
pub fn made(id: u64) -> Option<&'static mut Row> {
    if let Some(row) = known(id) {
        return Some(row);
    }
    let mut inserted = sv_sockets
        .insert(&id, &EMPTY_ROW, u64::from(BPF_NOEXIST))
        .is_ok();
    let mut attempt = 0;
    while !inserted && attempt < ATTEMPTS {
        let Ok(Some(oldest)) = sv_ended.pop() else {
            break;
        };
        if sv_sockets.remove(&oldest).is_ok() {
            count!(evicted);
        }
        inserted = sv_sockets
            .insert(&id, &EMPTY_ROW, u64::from(BPF_NOEXIST))
            .is_ok();
        attempt += 1;
    }
    let row = known(id);
    if let Some(row) = row {
        row.id = id;
        Some(row)
    } else {
        count!(missing);
        None
    }
}

/// The time, of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// Gives a row its status. A socket that is closed stays so.
#[inline(always)]
pub fn set(row: &mut Row, status: Status, scanned: bool) {
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
    row.history.note(at, status, scanned);
    if matches!(status, Status::TERMINATED) {
        // Full: the oldest is forgotten here, the agent still deletes its row.
        let _ = sv_ended.push(&row.id, u64::from(BPF_EXIST));
    }
    let from = if row.history.taken == 1 {
        status
    } else {
        before
    };
    events::emit(What::STATUS, row, from, status, scanned);
}

/// Keeps what a scan has found.
#[inline(always)]
pub fn keep(found: &Row) {
    // What is over is shown only if it was seen before.
    let over = matches!(found.status, Status::TERMINATED);
    let row = if over {
        known(found.id)
    } else {
        made(found.id)
    };
    let Some(row) = row else { return };
    if !found.is_mini() {
        row.options = found.options;
        row.send = found.send;
        row.send_queue = found.send_queue;
        row.receive_queue = found.receive_queue;
        row.connection_queue = found.connection_queue;
        row.owner.cgroup = found.owner.cgroup;
        row.owner.inode = found.owner.inode;
        row.owner.uid = found.owner.uid;
        row.shutdown = found.shutdown;
        row.error = found.error;
        row.reader_waits = found.reader_waits;
        row.witness.sock = found.witness.sock;
        row.witness.peer_sock = found.witness.peer_sock;
        row.witness.snd_nxt = found.witness.snd_nxt;
        row.witness.rcv_nxt = found.witness.rcv_nxt;
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
        set(row, found.status, true);
    }
}
