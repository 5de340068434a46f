//! Programs that begin in a cgroup. Until the agent has inspected them, they
//! may be ones that splice. Programs that make an `io_uring` are seen here too.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_current_task_btf};
use socketvirt_common::{
    reason::Reason,
    record::{config::Mode, program::Program},
    rule::inspected,
};

use crate::{
    count::next,
    kernel::sock::{Cgroup, Sock},
    maps::{sv_begun, sv_config, sv_habits, sv_inspected, sv_wake},
};

/// Returns the id of a task's cgroup, if its sockets are enrolled at their
/// handshakes. Nobody has read them then who could be inspected.
#[inline(always)]
fn followed(task: u64) -> Option<u64> {
    let config = sv_config.get(0)?;
    let cgroup = Cgroup::of_task(task);
    let eager = !matches!(config.mode, Mode::Adopt);
    (eager && cgroup.is_within(config.cgroup)).then(|| cgroup.id())
}

/// Remembers that the calling program makes an `io_uring`.
#[inline(always)]
pub fn made_ring() {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    if let Some(cgroup) = followed(task) {
        // Somebody may vouch for what it is kept off for now, and not for this.
        let _ = sv_habits.insert(&Program::any_of(cgroup), &Reason::Ring, 0);
    }
}

/// Handles a task that has come to a cgroup. A cgroup of a version 1 hierarchy
/// holds no sockets.
#[inline(always)]
pub fn came(cgroup: u64, task: u64) {
    if Cgroup::of_task(task).is(cgroup) {
        began(task);
    }
}

/// Handles a task that runs another program than before, or has come to its
/// cgroup.
#[inline(always)]
pub fn began(task: u64) {
    let Some(id) = followed(task) else {
        return;
    };
    if !counted(id) {
        // Two may come at once: the second counts what the first has made.
        let made = sv_begun.insert(&id, &1, u64::from(BPF_NOEXIST)).is_ok();
        if !made && !counted(id) {
            counted(inspected::ANY);
        }
    }
    // A full ring wakes as well.
    let _ = sv_wake.output(&id, 0);
}

/// Counts a program, where there is an entry for it.
#[inline(always)]
fn counted(cgroup: u64) -> bool {
    let Some(begun) = sv_begun.get_ptr_mut(&cgroup) else {
        return false;
    };
    next(begun);
    true
}

/// Returns [`Reason::NotInspected`] while a program of the socket's cgroup was not
/// inspected.
#[inline(always)]
pub fn of(sock: Sock) -> Reason {
    if all_inspected(sock.cgroup()) && all_inspected(inspected::ANY) {
        Reason::None
    } else {
        Reason::NotInspected
    }
}

#[inline(always)]
fn all_inspected(cgroup: u64) -> bool {
    // SAFETY: entries of preallocated maps, one word each.
    let read = |entry: Option<*const u64>| entry.map(|value| unsafe { *value });
    inspected::all(
        read(sv_begun.get_ptr(&cgroup)),
        read(sv_inspected.get_ptr(&cgroup)),
    )
}
