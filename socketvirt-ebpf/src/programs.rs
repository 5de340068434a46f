//! Programs that begin in a cgroup: until the agent has looked at them, they
//! may be ones that splice.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::{looked, reason::Reason};

use crate::{
    count::next,
    kernel::{Cgroup, Sock},
    maps::{sv_begun, sv_config, sv_looked, sv_wake},
};

/// The task runs another program than before, or has come to its cgroup.
#[inline(always)]
pub fn began(task: u64) {
    let Some(config) = sv_config.get(0) else {
        return;
    };
    let cgroup = Cgroup::of_task(task);
    if config.cgroup != 0 && !cgroup.is_within(config.cgroup) {
        return;
    }
    let id = cgroup.id();
    if !counted(id) {
        // Two may come at once: the second counts what the first has made.
        let made = sv_begun.insert(&id, &1, u64::from(BPF_NOEXIST)).is_ok();
        if !made && !counted(id) {
            counted(looked::ANY);
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

/// [`Reason::NotLooked`] while a program of the socket's cgroup was not looked
/// at.
#[inline(always)]
pub fn of(sock: Sock) -> Reason {
    if all_looked(sock.cgroup()) && all_looked(looked::ANY) {
        Reason::None
    } else {
        Reason::NotLooked
    }
}

#[inline(always)]
fn all_looked(cgroup: u64) -> bool {
    // SAFETY: entries of preallocated maps, one word each.
    let read = |entry: Option<*const u64>| entry.map(|value| unsafe { *value });
    looked::all(
        read(sv_begun.get_ptr(&cgroup)),
        read(sv_looked.get_ptr(&cgroup)),
    )
}
