//! Habits: what programs have shown, in `sv_habits`.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    programs::{BtfTracePointContext, FEntryContext},
};
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::{End, Side},
        program::Program,
    },
    rule::habit,
    uapi::MSG_DONTWAIT,
};

use crate::{
    kernel::{
        load::{offset, read},
        sock::Sock,
        task::{self, Reading},
    },
    maps::{sv_habits, sv_wake},
    program::reader,
};

/// Handles a call of `tcp_splice_read` (net/ipv4/tcp.c), whose first argument
/// is a `struct socket`. It answers `EAGAIN` for ever on an enrolled one.
#[inline(always)]
pub fn on_tcp_splice(ctx: &FEntryContext) {
    let socket = ctx.arg::<*const u8>(0) as u64;
    remember_either(Sock(read(socket, offset!(socket_sk))), Reason::Splice);
}

/// Handles a call that looks whether a TCP socket's receive buffer should grow
/// (`tcp_rcv_space_adjust`, `net/ipv4/tcp_input.c`): one that has read the socket.
///
/// splice(2) calls it by `tcp_read_sock`, and a receive on an enrolled socket in any
/// case, whether they have found bytes or not.
#[inline(always)]
pub fn on_read(ctx: &BtfTracePointContext) {
    let sk = ctx.arg(0);
    let Some(side) = reader::on_receive(sk) else {
        return;
    };
    let sock = Sock(sk as u64);
    match task::reading() {
        Reading::Splice => remember(sock, side, Reason::Splice),
        Reading::Receive(0) => {}
        Reading::Receive(flags) => {
            let added = if sock.is_blocking() { 0 } else { MSG_DONTWAIT };
            remember(sock, side, habit::of_receive(flags | added));
        }
    }
}

/// Handles a receive call that has ended on the socket at `sk`, with these
/// flags.
#[inline(always)]
pub fn on_receive(sk: *mut c_void, flags: u32) {
    // Programs of other protocols ask with MSG_TRUNC how long a message is.
    // They are not watched.
    if let Some(side) = reader::on_receive(sk) {
        remember(Sock(sk as u64), side, habit::of_receive(flags));
    }
}

/// Remembers what the program of a socket has shown.
#[inline(always)]
pub fn remember(sock: Sock, side: Side, reason: Reason) {
    if habit::is_habit(reason) {
        keep_off(sock, side, reason);
    }
}

/// Keeps the next sockets of a socket's program off, whatever the reason is.
#[inline(always)]
pub fn keep_off(sock: Sock, side: Side, reason: Reason) {
    let program = program(sock, side);
    // A full map drops the oldest.
    let new = sv_habits.insert(&program, &reason, u64::from(BPF_NOEXIST));
    if new.is_ok() {
        // The agent looks for the executable.
        let _ = sv_wake.output(&program.cgroup, 0);
    }
}

/// Remembers a habit that both ends of a connection have part in: one program
/// sends urgent data, the other gets it.
#[inline(always)]
pub fn remember_of_both(sock: Sock, side: Side, peer: &End, reason: Reason) {
    remember(sock, side, reason);
    let other = Sock(peer.sock);
    if matches!(reason, Reason::Urgent) && peer.is_known() && other.cookie() == peer.cookie {
        remember(other, side.other(), reason);
    }
}

/// Remembers a habit where nothing tells which side the socket is on. One of
/// the two ports is then a client's own, which stands for no service.
#[inline(always)]
fn remember_either(sock: Sock, reason: Reason) {
    remember(sock, Side::Client, reason);
    remember(sock, Side::Server, reason);
}

/// Returns what the program of a socket has shown; [`Reason::None`] for most.
#[inline(always)]
pub fn shown(sock: Sock, side: Side) -> Reason {
    known(&program(sock, side))
}

/// Returns the same, or what keeps all programs of its cgroup off. A handshake
/// asks so, as nobody has read the socket yet.
#[inline(always)]
pub fn of(sock: Sock, side: Side) -> Reason {
    let own = program(sock, side);
    match known(&own) {
        Reason::None => known(&Program::any_of(own.cgroup)),
        reason => reason,
    }
}

#[inline(always)]
fn known(program: &Program) -> Reason {
    sv_habits
        .get_ptr(program)
        // SAFETY: an entry of a preallocated map, one word.
        .map_or(Reason::None, |reason| unsafe { *reason })
}

#[inline(always)]
fn program(sock: Sock, side: Side) -> Program {
    let (local, remote) = sock.ports();
    Program::new(sock.cgroup(), local, remote, side)
}
