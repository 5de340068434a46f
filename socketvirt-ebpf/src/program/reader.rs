//! Readers of the watched sockets, recorded where they read.

use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_current_task_btf};
use socketvirt_common::{
    reason::Reason,
    record::{
        flow::Flow,
        pair::Side,
        reader::{self, Holding, Process},
        watch::WatchedEnd,
    },
};

use crate::{
    filter, flows,
    kernel::{
        load::{offset, read},
        sock::Sock,
    },
    maps::{sv_ends, sv_processes, sv_rings, sv_shared, sv_wake, sv_watched},
    table::iterate::{self, IterFile},
};

/// Depth of pid namespaces that is looked at (`MAX_PID_NS_LEVEL` is 32; few go
/// beyond three).
const MAX_DEPTH: u32 = 8;

/// `S_IFMT` and `S_IFSOCK`, include/uapi/linux/stat.h.
const TYPE: u16 = 0o170_000;
/// A socket.
const SOCKET: u16 = 0o140_000;

/// The seat of a watched socket: where its end is among the watched pairs.
#[derive(Clone, Copy)]
pub struct Seat {
    /// The pair's place, doubled, and 1 more for a server.
    known: u32,
    /// The socket's cookie.
    cookie: u64,
}

impl Seat {
    /// Returns the seat that a flow knows; no place of the array while it knows
    /// none.
    #[inline(always)]
    const fn of(flow: &Flow, cookie: u64) -> Self {
        Self {
            known: flow.place << 1 | flow.side as u32,
            cookie,
        }
    }

    /// Returns the side that the socket is on.
    #[inline(always)]
    pub const fn side(self) -> Side {
        Side::of(self.known)
    }

    /// Returns the number that names the end among the watched ones.
    #[inline(always)]
    pub const fn known(self) -> u32 {
        self.known
    }

    /// Returns the end. None when it is another socket's by now.
    #[inline(always)]
    pub fn end(self) -> Option<&'static mut WatchedEnd> {
        let pair = sv_watched.get_ptr_mut(self.known >> 1)?;
        // SAFETY: a place of the array; `reader` is written here alone.
        let pair = unsafe { &mut *pair };
        let end = if self.known & 1 == 0 {
            &mut pair.ends[0]
        } else {
            &mut pair.ends[1]
        };
        (end.cookie == self.cookie).then_some(end)
    }
}

/// Handles a receive call on the socket at `sk`, in the process that makes it.
/// Returns the side of a watched connection that the socket is on; none for most
/// sockets of a host.
#[inline(always)]
pub fn on_receive(sk: *mut c_void) -> Option<Side> {
    let cookie = cookie(sk);
    if cookie == 0 {
        return None;
    }
    let flow = flows::of_traced(sk);
    let taken = |seat: Seat| seat.end().map(|end| (end, seat.side()));
    // The flow of an enrolled socket knows its place; looking in `sv_ends` takes
    // longer.
    let found = flow
        .as_ref()
        .and_then(|flow| taken(Seat::of(flow, cookie)))
        .or_else(|| seat_of(cookie).and_then(taken));
    let Some((end, side)) = found else {
        // A handshake may have enrolled it a moment ago.
        return flow.map(|flow| flow.side);
    };
    let (task, own) = current();
    if end.reader != own {
        end.reader = own;
        enter(task, own);
    }
    Some(side)
}

/// Returns the cookie of the socket of a trace point. Most of a host have none,
/// and no socket without is watched or has a flow.
#[inline(always)]
pub fn cookie(sk: *mut c_void) -> u64 {
    let cookie = sk.cast::<u8>().wrapping_add(offset!(sk_cookie) as usize);
    // SAFETY: the verifier knows the argument as a `struct sock`, and checks
    // the offset.
    unsafe { core::ptr::read_volatile(cookie.cast()) }
}

/// Returns the seat of a socket by its cookie.
#[inline(always)]
pub fn seat_of(cookie: u64) -> Option<Seat> {
    if !filter::may_be_watched(cookie) {
        return None;
    }
    sv_ends.get_ptr(&cookie).map(|known| Seat {
        // SAFETY: an entry of the map, one word.
        known: unsafe { *known },
        cookie,
    })
}

/// Returns the calling task, and the name of its process.
///
/// The verifier knows the type of the task, and of its leader: neither is read
/// as a number that might be no address.
#[inline(always)]
pub fn current() -> (u64, u64) {
    // SAFETY: takes nothing.
    let task: *const u8 = unsafe { bpf_get_current_task_btf() }.cast_const().cast();
    let leader = task.wrapping_add(offset!(task_leader) as usize);
    // SAFETY: the verifier checks each offset and size; a leader is there as
    // long as the task.
    let leader: *const u8 = unsafe { core::ptr::read_volatile(leader.cast()) };
    let number = leader.wrapping_add(offset!(task_number) as usize);
    let start = leader.wrapping_add(offset!(task_start) as usize);
    // SAFETY: as above.
    let (number, start) = unsafe {
        (
            core::ptr::read_volatile(number.cast()),
            core::ptr::read_volatile(start.cast()),
        )
    };
    (task as u64, reader::name(number, start))
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
    let process = uninspected(task, Reason::NotInspected);
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
fn uninspected(task: u64, reason: Reason) -> Process {
    let memory: u64 = read(task, offset!(task_mm));
    Process {
        memory,
        code: read(memory, offset!(mm_code)),
        inode: 0,
        version: 0,
        pid: own_number(task),
        reason,
        again: 0,
        ringed: 0,
        splices: 0,
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
    // Rings do not survive exec(2).
    let _ = sv_rings.remove(&own);
    let known = sv_processes.get_ptr(&own).is_some();
    if known {
        let process = uninspected(task, Reason::NotInspected);
        let _ = sv_processes.insert(&own, &process, 0);
    }
    if inherited(task, own) || known {
        enter(task, own);
        let _ = sv_wake.output(&own, 0);
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

/// True when a file is a socket.
#[inline(always)]
pub fn is_socket(file: u64) -> bool {
    let inode: u64 = read(file, offset!(file_inode));
    let mode: u16 = read(inode, offset!(inode_mode));
    mode & TYPE == SOCKET
}

/// True when a file is a watched socket, which the calling process may read.
#[inline(always)]
fn is_watched(file: u64, own: u64) -> bool {
    if !is_socket(file) {
        return false;
    }
    let socket: u64 = read(file, offset!(file_private));
    let sock = Sock(read(socket, offset!(socket_sk)));
    let Some(seat) = seat_of(sock.cookie()) else {
        return false;
    };
    if let Some(end) = seat.end() {
        end.reader = own;
    }
    true
}
