//! Sending events, while somebody follows.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_ktime_get_ns};
use socketvirt_common::{
    event::{Event, TableStats, What},
    reason::Reason,
    row::Row,
    status::Status,
};

use crate::maps::{sv_events, sv_follow, sv_table_stats};

/// The counters of this CPU.
#[inline(always)]
pub fn stats() -> Option<&'static mut TableStats> {
    let stats = sv_table_stats.get_ptr_mut(0)?;
    // SAFETY: a slot of this CPU; a counter that is lost to an interrupt is
    // harmless.
    Some(unsafe { &mut *stats })
}

/// Adds one to a counter of the table.
macro_rules! count {
    ($field:ident) => {
        if let Some(stats) = $crate::table::events::stats() {
            stats.$field += 1;
        }
    };
}
pub(crate) use count;

/// Whether somebody reads events now.
#[inline(always)]
fn followed() -> bool {
    let until = sv_follow.get(0).map_or(0, |until| *until);
    // SAFETY: takes nothing.
    until != 0 && unsafe { bpf_ktime_get_ns() } < until
}

/// Sends a change of status.
#[inline(always)]
pub fn emit(what: What, row: &Row, from: Status, to: Status, scanned: bool) {
    if !followed() {
        return;
    }
    // SAFETY: takes nothing.
    let at = unsafe { bpf_ktime_get_ns() };
    send(&Event {
        at,
        id: row.id,
        peer: row.remote.id,
        what,
        from,
        to,
        reason: Reason::None,
        local_port: row.local.port,
        remote_port: row.remote.port,
        scanned: u32::from(scanned),
        pid: row.owner.pid,
        command: row.owner.command,
    });
}

/// Sends what happened to a pair.
#[inline(always)]
pub fn of_pair(what: What, id: u64, peer: u64, reason: Reason, ports: (u16, u16)) {
    if !followed() {
        return;
    }
    // SAFETY: takes nothing.
    let at = unsafe { bpf_ktime_get_ns() };
    send(&Event {
        at,
        id,
        peer,
        what,
        from: Status::CONNECTED,
        to: Status::CONNECTED,
        reason,
        local_port: u32::from(ports.0),
        remote_port: u32::from(ports.1),
        scanned: 0,
        pid: 0,
        command: [0; 16],
    });
}

/// Without waking: a reader looks every few milliseconds, and a wake-up for
/// each event would cost the connection that it is about.
#[inline(always)]
fn send(event: &Event) {
    if sv_events.output(event, u64::from(BPF_RB_NO_WAKEUP)).is_ok() {
        count!(events);
    } else {
        count!(events_lost);
    }
}
