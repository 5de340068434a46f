//! The life of a socket as it happens. Connections wait for these hooks, so
//! they write a note and no row.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task_btf,
        bpf_get_current_uid_gid, bpf_get_socket_cookie, bpf_skc_to_tcp_sock,
    },
};
use socketvirt_common::{
    record::{
        event::What,
        fields::{Field, flag},
        row::{Protocol, State},
    },
    uapi::AF_INET,
};

use super::{events::begin, options::socket_flag, snapshot::at};
use crate::maps::{FIELDS, sv_closing};

/// A field of a context, read once: the verifier does not follow a merged
/// load of the context pointer.
macro_rules! field {
    ($ctx:expr, $($field:tt)+) => {
        // SAFETY: a field of the context, at an offset that the verifier checks.
        unsafe { read_volatile(&raw const (*$ctx).$($field)+) }
    };
}

/// Loads a field of a structure whose type the verifier knows, without a
/// helper. The offset is a constant to the verifier, which checks it against
/// that type.
#[inline(always)]
fn load<T: Default>(from: *const u8, field: Field) -> T {
    if field.offset == Field::MISSING {
        return T::default();
    }
    // SAFETY: the verifier checks it.
    unsafe { read_volatile(from.add(field.offset as usize).cast()) }
}

/// Returns the namespace and the process at work.
#[inline(always)]
fn task() -> (u32, u32) {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task_btf() } as *const u8;
    let proxy: *const u8 = load::<Pointer>(task, at!(task_nsproxy)).0;
    let net: *const u8 = load::<Pointer>(proxy, at!(nsproxy_net)).0;
    (load(net, at!(net_inum)), load(task, at!(task_tgid)))
}

/// A pointer that can be absent.
#[derive(Default)]
#[repr(transparent)]
struct Pointer(*const u8);

/// Notes that socket(2) has made an IP socket. Children of a listener are not
/// made so.
#[inline(always)]
pub fn created(ctx: *mut bpf_sock) {
    let (family, kind, protocol) = (
        field!(ctx, family),
        field!(ctx, type_),
        field!(ctx, protocol),
    );
    let known = Protocol::of(protocol as u16);
    if !matches!(known, Protocol::TCP | Protocol::UDP | Protocol::UDPLITE) {
        return;
    }
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    let Some(pen) = begin(id, What::CREATED) else {
        return;
    };
    let note = &mut *pen.note;
    note.before = kind as u8;
    note.family = family as u16;
    note.protocol = protocol as u16;
    (note.netns, note.pid) = task();
    // SAFETY: these take nothing, or room that is as large as is said.
    unsafe {
        note.uid = bpf_get_current_uid_gid() as u32;
        note.cgroup = bpf_get_current_cgroup_id();
        bpf_get_current_comm(note.command.as_mut_ptr().cast(), 16);
    }
    pen.done();
}

/// Notes a bind(2).
#[inline(always)]
pub fn bound(ctx: *mut bpf_sock, v6: bool) {
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    let port = field!(ctx, src_port);
    let family = field!(ctx, family);
    let Some(pen) = begin(id, What::BOUND) else {
        return;
    };
    let note = &mut *pen.note;
    note.family = family as u16;
    note.local_port = port as u16;
    if v6 {
        note.local = [
            field!(ctx, src_ip6[0]),
            field!(ctx, src_ip6[1]),
            field!(ctx, src_ip6[2]),
            field!(ctx, src_ip6[3]),
        ];
    } else {
        note.local[0] = field!(ctx, src_ip4);
    }
    pen.done();
}

/// Notes the close(2) of the last descriptor.
#[inline(always)]
pub fn released(ctx: *mut bpf_sock) {
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    if let Some(closing) = sv_closing.get_ptr_mut(0) {
        // SAFETY: a slot of this CPU.
        unsafe { *closing = id };
    }
    if let Some(pen) = begin(id, What::CLOSED) {
        pen.done();
    }
}

/// Notes that TCP changes its state, which the socket does not show yet.
#[inline(always)]
pub fn changed(sk: *const c_void, before: u32, after: u32) {
    let (before, after) = (State::of(before as u8), State::of(after as u8));
    let brief = match after {
        State::SYN_SENT | State::ESTABLISHED | State::LISTEN => false,
        State::FIN_WAIT1 | State::CLOSE_WAIT | State::LAST_ACK | State::CLOSE => true,
        // On the way from one of these to another.
        _ => return,
    };
    let sock: *const u8 = sk.cast();
    if load::<u16>(sock, at!(protocol)) != Protocol::TCP as u16 {
        return;
    }
    let mut id: u64 = load(sock, at!(cookie));
    if brief {
        // States that follow on close(2) say nothing new.
        if socket_flag!(load::<u64>(sock, at!(flags_word)), DEAD) {
            return;
        }
        // SAFETY: a slot of this CPU.
        let closing = sv_closing.get_ptr(0).map_or(0, |id| unsafe { *id });
        if id == closing && id != 0 {
            return;
        }
    }
    if id == 0 {
        // SAFETY: the verifier checks `sk`.
        id = unsafe { bpf_get_socket_cookie(sk.cast_mut()) };
    }
    let Some(pen) = begin(id, What::STATE) else {
        return;
    };
    let note = &mut *pen.note;
    note.before = before as u8;
    note.after = after as u8;
    note.held = u8::from(load::<u64>(sock, at!(socket)) != 0);
    note.error = load(sock, at!(error));
    if !brief {
        ends(note, sock);
        if matches!(after, State::ESTABLISHED) {
            // SAFETY: the verifier checks `sk`.
            let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut()) };
            if !tcp.is_null() {
                note.own_seq = load(tcp.cast_const().cast(), at!(snd_nxt));
                note.peer_seq = load(tcp.cast_const().cast(), at!(rcv_nxt));
            }
        }
    }
    pen.done();
}

/// Fills in both ends and the namespace.
#[inline(always)]
fn ends(note: &mut socketvirt_common::record::event::Note, sock: *const u8) {
    let family: u16 = load(sock, at!(family));
    note.family = family;
    note.local_port = load(sock, at!(num));
    note.remote_port = u16::from_be(load(sock, at!(dport)));
    let net = load::<Pointer>(sock, at!(net)).0;
    note.netns = load(net, at!(net_inum));
    if family == AF_INET {
        note.local[0] = load(sock, at!(rcv_saddr));
        note.remote[0] = load(sock, at!(daddr));
        return;
    }
    for word in 0..4 {
        let later = |mut field: Field| {
            if field.offset != Field::MISSING {
                field.offset += 4 * word;
            }
            field
        };
        note.local[word as usize] = load(sock, later(at!(v6_rcv_saddr)));
        note.remote[word as usize] = load(sock, later(at!(v6_daddr)));
    }
}
