//! The ends of a connection: when its socket leaves, and is forgotten.

use aya_ebpf::{bindings::bpf_sock_ops, helpers::generated::bpf_sk_storage_delete};
use socketvirt_common::{
    reason::Reason,
    record::{
        flow::Flow,
        pair::{End, Enrolment, Side},
    },
    rule::release::{self, Ended, Leaving},
};

use super::{callback::socket, enrol, habits, pairs, unify};
use crate::{
    count, flows,
    kernel::{calls::MAX_WAITERS, psock::Psock, sock::Sock},
    maps::{handle, sv_flow},
};

/// Handles a program that has shut down sending: its socket leaves now if it
/// can, and again when the peer has acknowledged.
///
/// Once the peer shuts down too, its FIN closes this socket before the psock
/// hears of it. A blocking reader would then get `EAGAIN` for the end of file.
/// (K-END-4 in `docs/kernel`.)
///
/// No new redirect can begin, because senders look at `sk_shutdown`, which is
/// set before this callback runs (`inet_shutdown`, `__tcp_close`).
#[inline(always)]
pub fn half_closed(ops: *mut bpf_sock_ops, first: bool) {
    let Some((sk, sock)) = socket(ops) else {
        return;
    };
    let Some(flow) = flows::of(sk) else {
        return;
    };
    if matches!(flow.enrolment, Enrolment::None) || flow.cookie == 0 {
        return;
    }
    let Some(own) = pairs::own_of(flow) else {
        return;
    };
    let psock = sock.psock();
    // Plain TCP would send a reset now; an enrolled socket sends FIN. close(2)
    // takes the psock away, and shutdown(2) does not; its memory stays for a
    // grace period (`sock_map_close`). Clients that end with answers under way
    // are common, and a server ends with them either way. A server that does so
    // may want its client to see an error.
    if first && matches!(flow.side, Side::Server) && !psock.exists() {
        let gone = Psock(flow.psock);
        if gone.refs() == 0 && !gone.queue_empty() {
            habits::remember(sock, flow.side, Reason::ClosedUnread);
        }
    }
    let peer = pairs::peer_of(flow);
    let leaving = Leaving {
        stopped: true,
        peer_quiet: peer_gone(&peer) || idle(Sock(peer.sock)),
        psock_refs: psock.refs(),
        queue_empty: psock.queue_empty(),
        // A call that is about to shut down, or to read the peer's last bytes,
        // does not hold the psock now.
        held_by_readers: false,
        backlog_empty: sock.backlog_empty(psock),
    };
    if release::may_leave(&leaving) {
        enrol::remove(flow);
        own.enrolment = Enrolment::None;
        flow.reason = Reason::Closing;
    }
}

/// True when every call inside the socket's psock sleeps. A call that sleeps is
/// not between a verdict and its queueing, and will look at the peer again.
#[inline(always)]
fn idle(sock: Sock) -> bool {
    let sleepers = sock.sleepers();
    sleepers <= MAX_WAITERS && release::quiet(true, sock.psock().refs().saturating_sub(sleepers))
}

/// Ends the flow of a connection that is over: counts what it did and forgets
/// it. A program that still has the socket, after a reset or
/// `connect(AF_UNSPEC)`, finds a plain one.
#[inline(always)]
pub fn closed(ops: *mut bpf_sock_ops, before: u32) {
    let Some((sk, sock)) = socket(ops) else {
        return;
    };
    let Some(flow) = flows::of(sk) else {
        return;
    };
    let_go(flow, sock, before);
    leave_table(flow, sock);
}

/// Takes a socket whose connection is over out of `sv_fast`, unless redirected
/// bytes are still to be read.
///
/// `tcp_bpf_sendmsg` does not clear the error that it reports, and takes no
/// notice of one when there is nothing to send. `tcp_disconnect` empties the
/// TCP receive queue alone.
#[inline(always)]
fn let_go(flow: &mut Flow, sock: Sock, before: u32) {
    let psock = sock.psock();
    // close(2) has taken it away before (`sock_map_close`).
    if matches!(flow.enrolment, Enrolment::None) || !psock.exists() {
        return;
    }
    let peer = pairs::peer_of(flow);
    let ended = Ended {
        peer_gone: peer_gone(&peer) || !Sock(peer.sock).has_file(),
        peer_idle: idle(Sock(peer.sock)),
        psock_refs: psock.refs(),
        nothing_queued: (psock.queue_empty() || psock.holds_end_alone() && sock.knows_end())
            && sock.backlog_empty(psock),
        disconnected: release::disconnected(before, sock.error()),
    };
    if release::may_go(&ended) {
        enrol::remove(flow);
    }
}

/// True when the peer's socket is another connection's by now, or none.
#[inline(always)]
fn peer_gone(peer: &End) -> bool {
    !peer.is_known() || Sock(peer.sock).cookie() != peer.cookie
}

/// Forgets an old connection when its socket connects again: its redirected
/// bytes must not be read on the new one. This is not done earlier, because the
/// program may still read them until now.
#[inline(always)]
pub fn reconnect(ops: *mut bpf_sock_ops) {
    let Some((sk, sock)) = socket(ops) else {
        return;
    };
    let Some(flow) = flows::of(sk) else {
        return;
    };
    if !matches!(flow.enrolment, Enrolment::None) {
        enrol::remove(flow);
    }
    leave_table(flow, sock);
    if flow.psock != 0 {
        *flow = Flow::after(flow);
        return;
    }
    // SAFETY: the verifier checks all arguments; `flow` is not used again.
    unsafe { bpf_sk_storage_delete(handle(&sv_flow), sk) };
}

#[inline(always)]
fn leave_table(flow: &mut Flow, sock: Sock) {
    if flow.cookie == 0 {
        return;
    }
    count::flush(flow, sock);
    if flow.total.fast_messages == 0 {
        let alone = matches!(flow.side, Side::Client) && !pairs::peer_of(flow).is_known();
        count::left_on_stack(if alone && matches!(flow.reason, Reason::TooShort) {
            Reason::PeerNotHere
        } else {
            flow.reason
        });
    }
    pairs::forget(flow);
    unify::forget(flow.cookie);
    flow.cookie = 0;
}
