//! The iterators of the table. The kernel runs them for each TCP, UDP and Unix
//! socket of a namespace, and for each open file.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skc_to_tcp_sock, bpf_sock_from_file,
};
use socketvirt_common::record::{
    row::{Family, Protocol, Row, State},
    stream::{Header, Holder, Tag},
};

use super::{
    fill, rows,
    snapshot::{Snapshot, at, read},
};
use crate::{kernel::sock::Sock, maps::sv_scratch, scratch::Identity};

/// `struct bpf_iter_meta`, include/linux/bpf.h.
#[repr(C)]
pub struct Meta {
    pub seq: *mut aya_ebpf::bindings::seq_file,
    session_id: u64,
    seq_num: u64,
}

/// The context of an iterator over sockets: `struct bpf_iter__tcp` and those
/// of UDP and Unix sockets begin alike.
#[repr(C)]
pub struct IterSocket {
    pub meta: *mut Meta,
    pub sk: *mut c_void,
}

impl IterSocket {
    /// Returns the reader and the socket. The last call of an iteration has
    /// none.
    #[inline(always)]
    pub fn of(ctx: *mut Self) -> Option<(*mut Meta, *mut c_void)> {
        // SAFETY: fields of the context.
        let (meta, sk) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*ctx).meta),
                core::ptr::read_volatile(&raw const (*ctx).sk),
            )
        };
        if sk.is_null() { None } else { Some((meta, sk)) }
    }
}

/// `struct bpf_iter__task_file`, `kernel/bpf/task_iter.c`.
#[repr(C)]
pub struct IterFile {
    meta: *mut Meta,
    task: *mut c_void,
    fd: u32,
    file: *mut aya_ebpf::bindings::file,
}

/// Writes a record to the reader.
macro_rules! write {
    ($meta:expr, $tag:expr, $value:expr) => {{
        let header = Header {
            tag: $tag as u32,
            size: size_of_val($value) as u32,
        };
        // SAFETY: a field of the context, which the verifier follows.
        let seq = unsafe { core::ptr::read_volatile(&raw const (*$meta).seq) };
        // SAFETY: both are whole. When the reader's buffer is full, the kernel
        // drops both and runs the program again for the next read.
        unsafe {
            aya_ebpf::helpers::generated::bpf_seq_write(
                seq,
                (&raw const header).cast(),
                size_of::<Header>() as u32,
            );
            aya_ebpf::helpers::generated::bpf_seq_write(
                seq,
                core::ptr::from_ref($value).cast(),
                size_of_val($value) as u32,
            );
        }
    }};
}
pub(crate) use write;

/// Writes the bytes of a record, without a header.
#[inline(always)]
pub fn write_bytes<T>(meta: *mut Meta, record: &T) {
    // SAFETY: a field of the context, which the verifier follows.
    let seq = unsafe { core::ptr::read_volatile(&raw const (*meta).seq) };
    // SAFETY: the record is whole.
    unsafe {
        aya_ebpf::helpers::generated::bpf_seq_write(
            seq,
            core::ptr::from_ref(record).cast(),
            size_of::<T>() as u32,
        )
    };
}

impl IterFile {
    /// Returns the reader, and the addresses of task and file. The last call
    /// has none.
    #[inline(always)]
    pub fn of(ctx: *mut Self) -> Option<(*mut Meta, u64, u64)> {
        // SAFETY: fields of the context.
        let (meta, task, file) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*ctx).meta),
                core::ptr::read_volatile(&raw const (*ctx).task),
                core::ptr::read_volatile(&raw const (*ctx).file),
            )
        };
        if task.is_null() || file.is_null() {
            None
        } else {
            Some((meta, task as u64, file as u64))
        }
    }
}

/// Calls `visit` for a socket that is a full one of TCP: no request, and not in
/// `TIME_WAIT`.
#[inline(always)]
pub fn on_tcp(ctx: *mut IterSocket, visit: impl FnOnce(*mut Meta, *mut c_void, Sock)) {
    let Some((meta, sk)) = IterSocket::of(ctx) else {
        return;
    };
    // SAFETY: the verifier checks `sk`.
    let tcp_sock = unsafe { bpf_skc_to_tcp_sock(sk) };
    if !tcp_sock.is_null() {
        visit(meta, sk, Sock(tcp_sock as u64));
    }
}

/// Visits one socket of a namespace.
#[inline(always)]
pub fn on_socket(ctx: *mut IterSocket) {
    let Some((meta, sk)) = IterSocket::of(ctx) else {
        return;
    };
    // SAFETY: the verifier checks `sk`. Gives the socket a cookie when it has
    // none yet.
    let id = unsafe { bpf_get_socket_cookie(sk) };
    if let Some(row) = row_of(sk as u64, id) {
        give(meta, row);
    }
}

/// Keeps a row, or writes it to the reader.
#[inline(always)]
fn give(meta: *mut Meta, row: &Row) {
    if !rows::are_kept() {
        write!(meta, Tag::Row, row);
    } else if !rows::keep(row) {
        write!(meta, Tag::Missing, &row.id);
    }
}

/// Visits one open file of a task. It says who has a socket, and shows sockets
/// that no other iterator does because no table of the kernel has them.
#[inline(always)]
pub fn on_file(ctx: *mut IterFile) {
    // SAFETY: fields of the context.
    let (meta, task, fd, file) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).meta),
            core::ptr::read_volatile(&raw const (*ctx).task),
            core::ptr::read_volatile(&raw const (*ctx).fd),
            core::ptr::read_volatile(&raw const (*ctx).file),
        )
    };
    if task.is_null() || file.is_null() {
        return;
    }
    // SAFETY: the verifier checks `file`.
    let socket = unsafe { bpf_sock_from_file(file) };
    if socket.is_null() {
        return;
    }
    let at = at!(socket_sk).offset as usize;
    // SAFETY: a field of the structure, which the verifier follows: the
    // offset is a constant to it.
    let sk = unsafe { core::ptr::read_volatile(socket.byte_add(at).cast::<*mut c_void>()) };
    if sk.is_null() {
        return;
    }
    let identity = Identity::of(sk as u64);
    if !identity.has_rows() {
        return;
    }
    // SAFETY: the verifier checks `sk`.
    let id = unsafe { bpf_get_socket_cookie(sk) };
    let leader: u64 = read(task as u64, at!(task_leader));
    let holder = Holder {
        id,
        pid: read(task as u64, at!(task_tgid)),
        fd,
        command: read(leader, at!(task_comm)),
    };
    if rows::are_kept() {
        if in_no_table(sk as u64, &identity)
            && let Some(row) = row_of(sk as u64, id)
        {
            give(meta, row);
        }
        if let Some(row) = rows::known(id) {
            row.owner.pid = holder.pid;
            row.owner.command = holder.command;
        }
        return;
    }
    write!(meta, Tag::Holder, &holder);
    if in_no_table(sk as u64, &identity)
        && let Some(row) = row_of(sk as u64, id)
    {
        give(meta, row);
    }
}

/// True for a socket that is in no table of the kernel that can be walked.
///
/// A TCP socket is in one while it listens or has a connection, a UDP socket
/// while it has a port, a Unix socket always.
#[inline(always)]
fn in_no_table(sk: u64, identity: &Identity) -> bool {
    match (identity.family, identity.protocol) {
        (Family::UNIX, _) => false,
        (_, Protocol::TCP) => matches!(identity.state, State::CLOSE),
        _ => read::<u16>(sk, at!(num)) == 0,
    }
}

/// Makes the row of a socket.
#[inline(always)]
fn row_of(sk: u64, id: u64) -> Option<&'static Row> {
    let scratch = sv_scratch.get_ptr_mut(0)?;
    // SAFETY: room for one socket on this CPU, used by one reader.
    let scratch = unsafe { &mut *scratch };
    // Through memory, whose content the verifier does not follow: it would go
    // through all that follows for each family, type, protocol and state.
    // SAFETY: written just before it is read.
    let identity = unsafe {
        core::ptr::write_volatile(&raw mut scratch.identity, Identity::of(sk));
        core::ptr::read_volatile(&raw const scratch.identity)
    };
    let copy = Snapshot::take(scratch.bytes.as_mut_ptr(), sk, &identity)?;
    // Remains of the last socket must not show at one that has less. A read that
    // fails zeroes its target (bpf_probe_read_kernel_common), which is the
    // cheapest way to zero as much. SAFETY: the row is `size_of::<Row>()`
    // bytes, and zero is a row.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut scratch.row).cast(),
            size_of::<Row>() as u32,
            core::ptr::null(),
        );
    }
    scratch.row.status = fill::fill(&mut scratch.row, &copy, &identity, id);
    Some(&scratch.row)
}
