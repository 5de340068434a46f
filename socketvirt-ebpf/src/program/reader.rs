//! Readers of the watched sockets, recorded where they read.

use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_current_task_btf};
use socketvirt_common::{
    reason::Reason,
    record::reader::{self, Holding, Process},
};

use crate::{
    kernel::{
        load::{offset, read},
        sock::Sock,
    },
    maps::{sv_ends, sv_processes, sv_shared, sv_wake, sv_watched},
    table::iterate::{self, IterFile},
};

/// Depth of pid namespaces that is looked at (`MAX_PID_NS_LEVEL` is 32; few go
/// beyond three).
const MAX_DEPTH: u32 = 8;

/// `S_IFMT` and `S_IFSOCK`, include/uapi/linux/stat.h.
const TYPE: u16 = 0o170_000;
/// A socket.
const SOCKET: u16 = 0o140_000;

/// Handles a receive call on the socket at `sk` that has ended, in the process
/// that made it.
#[inline(always)]
pub fn on_receive(sk: *mut c_void) {
    let Some((known, cookie)) = watched(sk) else {
        return;
    };
    let (task, own) = current();
    if reads(known, cookie, own) {
        enter(task, own);
    }
}

/// Returns the place of a socket that is watched, and its cookie. Most sockets
/// of a host have no cookie, or are found in no time not to be there.
#[inline(always)]
pub fn watched(sk: *mut c_void) -> Option<(u32, u64)> {
    let cookie = sk.cast::<u8>().wrapping_add(offset!(sk_cookie) as usize);
    // SAFETY: the verifier knows the argument as a `struct sock`, and checks
    // the offset.
    let cookie: u64 = unsafe { core::ptr::read_volatile(cookie.cast()) };
    if cookie == 0 {
        return None;
    }
    // SAFETY: an entry of the map, one word.
    sv_ends
        .get_ptr(&cookie)
        .map(|known| (unsafe { *known }, cookie))
}

/// Records who reads an end of a watched pair. Returns true when that is news.
#[inline(always)]
fn reads(known: u32, cookie: u64, who: u64) -> bool {
    let Some(pair) = sv_watched.get_ptr_mut(known >> 1) else {
        return false;
    };
    // SAFETY: a place of the array; `reader` is written here alone.
    let pair = unsafe { &mut *pair };
    let end = if known & 1 == 0 {
        &mut pair.ends[0]
    } else {
        &mut pair.ends[1]
    };
    if end.cookie != cookie || end.reader == who {
        return false;
    }
    end.reader = who;
    true
}

/// Returns the calling task, and the name of its process.
#[inline(always)]
fn current() -> (u64, u64) {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    (task, name(task))
}

/// Returns the name of a task's process.
#[inline(always)]
fn name(task: u64) -> u64 {
    let leader: u64 = read(task, offset!(task_leader));
    reader::name(
        read(leader, offset!(task_number)),
        read(leader, offset!(task_start)),
    )
}

/// Enters the process of a task among those that read, if it is not there yet.
/// Wakes the agent to look at it.
#[inline(always)]
fn enter(task: u64, name: u64) {
    if sv_processes.get_ptr(&name).is_some() {
        return;
    }
    let process = unlooked(task, Reason::NotLooked);
    if sv_processes
        .insert(&name, &process, u64::from(BPF_NOEXIST))
        .is_ok()
    {
        // A full ring wakes as well.
        let _ = sv_wake.output(&name, 0);
    }
}

/// Returns what there is to know of a task's process, except what it can do.
#[inline(always)]
fn unlooked(task: u64, reason: Reason) -> Process {
    let memory: u64 = read(task, offset!(task_mm));
    Process {
        memory,
        code: read(memory, offset!(mm_code)),
        pid: own_number(task),
        reason,
        again: 0,
        reserved: 0,
    }
}

/// Visits one open file of a task, in the walk that looks for holders.
#[inline(always)]
pub fn on_file(ctx: *mut IterFile) {
    let Some((meta, task, file)) = IterFile::of(ctx) else {
        return;
    };
    let Some(shared) = sv_shared.get_ptr(&file) else {
        return;
    };
    // SAFETY: an entry of a preallocated map, which the agent's programs write.
    let shared = unsafe { &*shared };
    let holder = name(task);
    enter(task, holder);
    let holding = Holding {
        holder,
        end: shared.end,
        references: shared.references,
    };
    iterate::write_bytes(meta, &holding);
}

/// Returns the number of a task's process in the agent's pid namespace. It is 0
/// when the process is not in there, or the agent's namespace is not known.
#[inline(always)]
fn own_number(task: u64) -> u32 {
    let leader: u64 = read(task, offset!(task_leader));
    let pid: u64 = read(leader, offset!(task_pid));
    let level: u32 = read(pid, offset!(pid_level));
    for depth in 0..MAX_DEPTH {
        if depth > level {
            return 0;
        }
        let entry = pid + u64::from(offset!(pid_numbers)) + u64::from(depth) * 16;
        let namespace: u64 = read(entry, 8);
        let number: u32 = read(namespace, offset!(pidns_inum));
        if number == offset!(own_pidns) {
            return read(entry, 0);
        }
    }
    0
}

/// Handles a process that runs another program from here on. What it was judged
/// by is gone. What it has inherited may be read by another program now,
/// without a receive call.
#[inline(always)]
pub fn began() {
    let (task, own) = current();
    let known = sv_processes.get_ptr(&own).is_some();
    if known {
        let process = unlooked(task, Reason::NotLooked);
        let _ = sv_processes.insert(&own, &process, 0);
    }
    if inherited(task, own) || known {
        enter(task, own);
        let _ = sv_wake.output(&own, 0);
    }
}

/// Handles a process that has made an `io_uring`.
#[inline(always)]
pub fn made_ring() {
    let (task, own) = current();
    if sv_processes.get_ptr(&own).is_some() {
        let process = unlooked(task, Reason::Ring);
        let _ = sv_processes.insert(&own, &process, 0);
    }
}

/// Descriptors that are looked at.
const MAX_FILES: u32 = 64;

/// True when any of the descriptors that were left open is a watched socket.
/// The calling process reads such sockets from now on.
#[inline(always)]
fn inherited(task: u64, own: u64) -> bool {
    let files: u64 = read(task, offset!(task_files));
    let table: u64 = read(files, offset!(files_table));
    let open: u64 = read(read(table, offset!(table_open)), 0);
    let array: u64 = read(table, offset!(table_files));
    let mut any = false;
    for index in 0..MAX_FILES {
        if open >> index == 0 {
            break;
        }
        if open >> index & 1 != 0 {
            let file: u64 = read(array, index * 8);
            any |= is_watched(file, own);
        }
    }
    any
}

/// True when a file is a watched socket, which the calling process may read.
#[inline(always)]
fn is_watched(file: u64, own: u64) -> bool {
    let inode: u64 = read(file, offset!(file_inode));
    let mode: u16 = read(inode, offset!(inode_mode));
    if mode & TYPE != SOCKET {
        return false;
    }
    let socket: u64 = read(file, offset!(file_private));
    let sock = Sock(read(socket, offset!(socket_sk)));
    let cookie = sock.cookie();
    let Some(known) = sv_ends.get_ptr(&cookie) else {
        return false;
    };
    // SAFETY: one word.
    let known = unsafe { *known };
    reads(known, cookie, own);
    true
}
