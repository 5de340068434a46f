//! The life of a socket as it happens: what the cgroup's hooks and the
//! callbacks of TCP tell, each of which has its gaps.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
        BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock, bpf_sock_ops,
    },
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
        bpf_get_current_uid_gid, bpf_get_socket_cookie, bpf_skc_to_tcp_sock,
        bpf_sock_ops_cb_flags_set,
    },
};
use socketvirt_common::{
    event::What,
    pair::HandshakeId,
    reason::Reason,
    row::{Family, Kind, Protocol, Row, State},
    status::Status,
};

use super::{
    events,
    rows::{self, known, made},
    snapshot::{place, read},
    text,
};
use crate::maps::sv_shakes;

const AF_INET: u32 = 2;

/// A field of a context, read once: the verifier does not follow a merged
/// load of the context pointer.
macro_rules! field {
    ($ctx:expr, $($field:tt)+) => {
        // SAFETY: a field of the context, at an offset that the verifier checks.
        unsafe { core::ptr::read_volatile(&raw const (*$ctx).$($field)+) }
    };
}

/// Who runs now.
#[inline(always)]
fn own(row: &mut Row) {
    // SAFETY: these take nothing, or room that is as large as is said.
    unsafe {
        row.owner.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        row.owner.uid = bpf_get_current_uid_gid() as u32;
        row.owner.cgroup = bpf_get_current_cgroup_id();
        bpf_get_current_comm(row.owner.command.as_mut_ptr().cast(), 16);
    }
}

/// socket(2): an IP socket was made. Children of a listener are not.
#[inline(always)]
pub fn created(ctx: *mut bpf_sock) {
    let (family, kind, protocol) = (
        field!(ctx, family),
        field!(ctx, type_),
        field!(ctx, protocol),
    );
    let protocol = Protocol::of(protocol as u16);
    if !matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::UDPLITE) {
        return;
    }
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    let Some(row) = made(id) else { return };
    row.state = State::CLOSE;
    row.local.family = Family::of(family as u16);
    row.local.kind = Kind::of(kind as u16);
    row.local.protocol = protocol;
    own(row);
    rows::set(row, Status::UNCONNECTED, false);
}

/// bind(2).
#[inline(always)]
pub fn bound(ctx: *mut bpf_sock, v6: bool) {
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    let port = field!(ctx, src_port);
    let Some(row) = known(id) else { return };
    row.local.port = port;
    if v6 {
        let words = [
            field!(ctx, src_ip6[0]),
            field!(ctx, src_ip6[1]),
            field!(ctx, src_ip6[2]),
            field!(ctx, src_ip6[3]),
        ];
        text::v6(&mut row.local.address, longs(words));
    } else {
        let address = field!(ctx, src_ip4);
        text::v4(&mut row.local.address, address);
    }
    // listen(2) and connect(2) of a bound socket do not come by here.
    if port != 0 && matches!(row.status, Status::UNCONNECTED | Status::BOUND) {
        rows::set(row, Status::BOUND, false);
    }
}

/// close(2), of the last descriptor.
#[inline(always)]
pub fn released(ctx: *mut bpf_sock) {
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    if let Some(row) = known(id) {
        rows::set(row, Status::TERMINATED, false);
    }
}

/// Every callback of TCP.
#[inline(always)]
pub fn on_tcp(ops: *mut bpf_sock_ops) {
    match field!(ops, op) {
        BPF_SOCK_OPS_TCP_LISTEN_CB => step(ops, Status::LISTENING, State::LISTEN),
        BPF_SOCK_OPS_TCP_CONNECT_CB => step(ops, Status::CONNECTING, State::SYN_SENT),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ops, false),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ops, true),
        BPF_SOCK_OPS_STATE_CB => changed(ops),
        _ => {}
    }
}

/// The address of the callback's socket, when it is a full one.
#[inline(always)]
fn socket(ops: *mut bpf_sock_ops) -> u64 {
    let sk: *mut c_void = field!(ops, __bindgen_anon_2.sk).cast();
    if sk.is_null() {
        return 0;
    }
    // SAFETY: the verifier checks `sk`.
    unsafe { bpf_skc_to_tcp_sock(sk) as u64 }
}

#[inline(always)]
fn longs(words: [u32; 4]) -> [u64; 2] {
    [
        u64::from(words[0]) | u64::from(words[1]) << 32,
        u64::from(words[2]) | u64::from(words[3]) << 32,
    ]
}

#[inline(always)]
fn step(ops: *mut bpf_sock_ops, status: Status, state: State) {
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ops.cast()) };
    let Some(row) = made(id) else { return };
    row.state = state;
    ends(row, ops);
    rows::set(row, status, false);
    follow(ops);
}

/// Asks for the changes of state.
#[inline(always)]
fn follow(ops: *mut bpf_sock_ops) {
    let flags = field!(ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
    // SAFETY: the verifier checks the context.
    unsafe { bpf_sock_ops_cb_flags_set(ops, flags as i32) };
}

/// A handshake is complete. At the server the state still reads `SYN_RECV`.
#[inline(always)]
fn established(ops: *mut bpf_sock_ops, server: bool) {
    let (own_seq, peer_seq) = (field!(ops, snd_nxt), field!(ops, rcv_nxt));
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ops.cast()) };
    let Some(row) = made(id) else { return };
    row.state = State::ESTABLISHED;
    // A client's were written down when it asked.
    if row.remote.port == 0 {
        ends(row, ops);
    }
    let handshake = &mut row.witness.handshake;
    if server {
        (handshake.client_seq, handshake.server_seq) = (peer_seq, own_seq);
    } else {
        (handshake.client_seq, handshake.server_seq) = (own_seq, peer_seq);
    }
    let handshake = row.witness.handshake;
    rows::set(row, Status::CONNECTED, false);
    if server {
        meet(row, handshake);
    } else {
        // A full map gives up the oldest; the table then finds the pair by
        // addresses.
        let _ = sv_shakes.insert(&handshake, &id, 0);
    }
    follow(ops);
}

/// The server's end of a handshake: the client's is here if it was seen.
#[inline(always)]
fn meet(row: &mut Row, handshake: HandshakeId) {
    let Some(client) = sv_shakes.get_ptr(&handshake) else {
        return;
    };
    // SAFETY: an entry of a preallocated map.
    let client = unsafe { core::ptr::read_volatile(client) };
    let _ = sv_shakes.remove(&handshake);
    row.remote.id = client;
    if let Some(other) = known(client) {
        other.remote.id = row.id;
    }
    let ports = (row.local.port as u16, row.remote.port as u16);
    events::of_pair(What::PAIR, row.id, client, Reason::None, ports);
}

/// Writes down both ends.
#[inline(always)]
fn ends(row: &mut Row, ops: *mut bpf_sock_ops) {
    let family = field!(ops, family);
    let (local4, remote4) = (field!(ops, local_ip4), field!(ops, remote_ip4));
    let local6 = [
        field!(ops, local_ip6[0]),
        field!(ops, local_ip6[1]),
        field!(ops, local_ip6[2]),
        field!(ops, local_ip6[3]),
    ];
    let remote6 = [
        field!(ops, remote_ip6[0]),
        field!(ops, remote_ip6[1]),
        field!(ops, remote_ip6[2]),
        field!(ops, remote_ip6[3]),
    ];
    row.local.family = Family::of(family as u16);
    row.local.kind = Kind::STREAM;
    row.local.protocol = Protocol::TCP;
    row.local.port = field!(ops, local_port);
    row.remote.port = u32::from_be(field!(ops, remote_port));
    if family == AF_INET {
        text::v4(&mut row.local.address, local4);
        text::v4(&mut row.remote.address, remote4);
    } else {
        text::v6(&mut row.local.address, longs(local6));
        text::v6(&mut row.remote.address, longs(remote6));
    }
}

/// TCP changes its state, which `sk_state` does not show yet.
#[inline(always)]
fn changed(ops: *mut bpf_sock_ops) {
    let before = State::of(field!(ops, __bindgen_anon_1.args[0]) as u8);
    let after = State::of(field!(ops, __bindgen_anon_1.args[1]) as u8);
    // SAFETY: takes the context.
    let id = unsafe { bpf_get_socket_cookie(ops.cast()) };
    let sock = socket(ops);
    let Some(row) = known(id) else { return };
    row.state = after;
    let held = read::<u64>(sock, place!(socket)) != 0;
    let error: u32 = read(sock, place!(error));
    let status = match (before, after) {
        (_, State::CLOSE_WAIT) => Status::DISCONNECTED,
        // close(2) has no socket any more, so this is shutdown(2).
        (_, State::FIN_WAIT1 | State::LAST_ACK) if held => Status::SHUTDOWN,
        // Never accepted, or closed before.
        (_, State::CLOSE) if !held => Status::TERMINATED,
        (_, State::CLOSE) if error != 0 => Status::DISCONNECTED,
        // After both ends of data: what it was.
        (State::FIN_WAIT2 | State::CLOSING | State::LAST_ACK | State::TIME_WAIT, State::CLOSE) => {
            return;
        }
        // A listener that was shut down, a connection that was dissolved.
        (_, State::CLOSE) if row.local.port != 0 && matches!(before, State::LISTEN) => {
            Status::BOUND
        }
        (_, State::CLOSE) => Status::UNCONNECTED,
        _ => return,
    };
    rows::set(row, status, false);
}
