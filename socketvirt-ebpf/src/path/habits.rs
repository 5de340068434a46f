//! Habits: what programs have shown, in `sv_habits`.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::{End, Side},
        program::Program,
    },
    rule::{habit, vouch::lift},
};

use crate::{
    kernel::sock::Sock,
    maps::{sv_habits, sv_wake},
};

/// Remembers what the program of a socket has shown.
#[inline(always)]
pub fn remember(sock: Sock, side: Side, reason: Reason) {
    if habit::is_habit(reason) {
        keep_off(sock, side, reason);
    }
}

/// Keeps the next sockets of a socket's program off, whatever the reason is. Returns
/// true when nothing was known of it.
#[inline(always)]
pub fn keep_off(sock: Sock, side: Side, reason: Reason) -> bool {
    let program = program(sock, side);
    // A socket without a port is closed, and tells of no service any more.
    if program.port == 0 {
        return false;
    }
    // A full map drops the oldest.
    let new = sv_habits.insert(&program, &reason, u64::from(BPF_NOEXIST));
    if new.is_ok() {
        // The agent looks for the executable.
        let _ = sv_wake.output(&program.cgroup, 0);
    }
    new.is_ok()
}

/// Has a habit count as another one from now on.
#[inline(always)]
pub fn replace(sock: Sock, side: Side, reason: Reason) {
    let _ = sv_habits.insert(&program(sock, side), &reason, 0);
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
pub fn remember_either(sock: Sock, reason: Reason) {
    remember(sock, Side::Client, reason);
    remember(sock, Side::Server, reason);
}

/// Returns what the program of a socket has shown; [`Reason::None`] for most.
#[inline(always)]
pub fn shown(sock: Sock, side: Side) -> Reason {
    known(&program(sock, side))
}

/// Returns the same, or what keeps all programs of its cgroup off and nobody vouches
/// for. A handshake asks so, as nobody has read the socket yet.
#[inline(always)]
pub fn of(sock: Sock, side: Side, assume: u32) -> Reason {
    let own = program(sock, side);
    match known(&own) {
        Reason::None => lift(known(&Program::any_of(own.cgroup)), assume),
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
