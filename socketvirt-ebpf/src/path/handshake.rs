//! Pairing by handshake. Both ends of a connection know the same two initial
//! sequence numbers, whatever lies between them.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
        BPF_SOCK_OPS_TIMEOUT_INIT, bpf_sock_ops,
    },
    helpers::generated::{bpf_get_socket_cookie, bpf_sock_ops_cb_flags_set},
};
use socketvirt_common::{
    reason::Reason,
    record::{
        config::Mode,
        event::What,
        flow::{Flow, Path},
        pair::{EndKey, Enrolment, HandshakeId, Side},
        watch::{NOWHERE, Stage},
    },
    rule::suitable::{self, Candidate},
    uapi::{self, AF_INET, TCP_ESTABLISHED},
};

use super::{
    callback::{field, socket},
    ending, enrol, habits, note, pairs,
};
use crate::{
    count::count,
    flows,
    kernel::sock::{self, Sock},
    maps::{Endpoint, sv_asked, sv_config, sv_pairs, sv_watched},
    policy::ask::{self, Permit},
    program::processes,
    table::events,
};

// As the callback tells states.
const TCP_CLOSE: u32 = uapi::TCP_CLOSE as u32;
const TCP_FIN_WAIT1: u32 = uapi::TCP_FIN_WAIT1 as u32;
const TCP_FIN_WAIT2: u32 = uapi::TCP_FIN_WAIT2 as u32;
const TCP_LAST_ACK: u32 = uapi::TCP_LAST_ACK as u32;

/// An address of the context in network byte order, IPv4 mapped to IPv6 (RFC
/// 4291, 2.5.5.2). Both forms are read before one is chosen, because loads on
/// two branches would be merged into one.
macro_rules! address {
    ($ops:expr, $v4:ident, $v6:ident) => {{
        let v4 = field!($ops, $v4);
        let v6 = [
            field!($ops, $v6[0]),
            field!($ops, $v6[1]),
            field!($ops, $v6[2]),
            field!($ops, $v6[3]),
        ];
        if field!($ops, family) == u32::from(AF_INET) {
            [0, 0, 0xffff_u32.to_be(), v4]
        } else {
            v6
        }
    }};
}

/// Handles every callback of the cgroup's sockets.
#[inline(always)]
pub fn on_event(ops: *mut bpf_sock_ops) {
    let permit = permit(ops);
    handle(ops, u32::from(permit.eager), permit.assume);
}

/// Returns what the policy says of the end of a callback at its handshake; anything
/// goes where it is not asked. It is asked apart from [`handle`], because their frames
/// would share one stack (K-BPF-11 in `docs/kernel`).
#[inline(always)]
fn permit(ops: *mut bpf_sock_ops) -> Permit {
    const ANYTHING: Permit = Permit {
        eager: true,
        assume: 0,
    };
    let eager = sv_config
        .get(0)
        .is_some_and(|config| matches!(config.mode, Mode::Eager) && config.draining == 0);
    if !eager {
        return ANYTHING;
    }
    let op = field!(ops, op);
    let (named, sock, side) = match op {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB | BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => {
            let known = sock::called(ops as u64);
            let is_server = op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
            (known, known, Side::of(u32::from(is_server)))
        }
        BPF_SOCK_OPS_TIMEOUT_INIT if field!(ops, is_fullsock) == 0 => {
            let (request, listener) = sock::asked(ops as u64);
            (request, listener, Side::Server)
        }
        _ => return ANYTHING,
    };
    ask::permit(named, sock, side)
}

/// Handles a callback whose end the policy permits at its handshake, or does not, and
/// what it vouches for of the program.
#[inline(never)]
fn handle(ops: *mut bpf_sock_ops, permitted: u32, assume: u32) {
    let permitted = permitted != 0;
    match field!(ops, op) {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ops, Side::Client, permitted, assume),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ops, Side::Server, permitted, assume),
        BPF_SOCK_OPS_STATE_CB => match field!(ops, __bindgen_anon_1.args[1]) {
            TCP_CLOSE => ending::closed(ops, field!(ops, __bindgen_anon_1.args[0])),
            TCP_FIN_WAIT1 => ending::half_closed(ops, true),
            // The peer may answer long after. Or it has sent its FIN before,
            // which lies in the psock's queue like a message.
            TCP_FIN_WAIT2 | TCP_LAST_ACK => ending::half_closed(ops, false),
            _ => {}
        },
        BPF_SOCK_OPS_TCP_CONNECT_CB => ending::reconnect(ops),
        // Without a hint the client is not enrolled either.
        BPF_SOCK_OPS_TIMEOUT_INIT if permitted => asked(ops, assume),
        _ => {}
    }
}

/// Notes an end of a new connection.
///
/// In eager mode it also enters and enrols an end that is `permitted`, unless that is
/// a server whose client was not seen on this host.
#[inline(always)]
fn established(ops: *mut bpf_sock_ops, side: Side, permitted: bool, assume: u32) {
    match side {
        Side::Client => count!(connected),
        Side::Server => count!(accepted),
    }
    let Some(config) = sv_config.get(0) else {
        return;
    };
    if matches!(config.mode, Mode::Off) || config.draining != 0 {
        return;
    }
    let Some((sk, sock)) = socket(ops) else {
        return;
    };
    let id = match side {
        // Its SYN may have carried data, which is acknowledged by now (Fast Open).
        Side::Client => sock.sequences().id(side),
        Side::Server => HandshakeId {
            client_seq: field!(ops, rcv_nxt),
            server_seq: field!(ops, snd_nxt),
        },
    };
    // SAFETY: the helper takes the context.
    let cookie = unsafe { bpf_get_socket_cookie(ops.cast()) };
    let place = note::end(id, side, cookie, sock);
    if !matches!(config.mode, Mode::Eager) || !permitted || !enrol::is_watched(config) {
        return;
    }
    if matches!(side, Side::Server) {
        let client = EndKey {
            id,
            side: Side::Client,
        };
        if place == NOWHERE || sv_pairs.get_ptr(&client).is_none() {
            return;
        }
    }
    let Some(flow) = flows::made(sk) else {
        count!(storage_full);
        return;
    };
    if !pairs::begin(flow, id, side, cookie, sock, place) {
        return;
    }
    let flags = field!(ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
    // SAFETY: the verifier checks the context.
    unsafe { bpf_sock_ops_cb_flags_set(ops, flags as i32) };

    // One end alone gains nothing, and a blocking end could not leave.
    let other = match side {
        // Its callback came first.
        Side::Server if pairs::peer_of(flow).enrolment.is_active() => Reason::None,
        Side::Server => Reason::PeerNotEnrolled,
        Side::Client => was_asked(ops).unwrap_or(flow.reason),
    };
    if matches!(other, Reason::None) {
        enrol_eagerly(ops, flow, sock, assume);
    } else {
        flow.reason = other;
    }
}

#[inline(always)]
fn enrol_eagerly(ops: *mut bpf_sock_ops, flow: &mut Flow, sock: Sock, assume: u32) {
    // Only who connects has a file at this moment; the kernel has none.
    if matches!(flow.side, Side::Client) && !sock.has_file() {
        flow.reason = Reason::Kernel;
        return;
    }
    let habit = habits::of(sock, flow.side, assume);
    if !matches!(habit, Reason::None) {
        flow.reason = habit;
        flow.path = Path::Kept;
        return;
    }
    let reason = unready(sock, sock.candidate(false));
    // Bytes that come with the handshake (TCP_DEFER_ACCEPT, Fast Open) wait in
    // the TCP receive queue until accept(2). FIONREAD of an enrolled socket
    // does not count them there.
    let reason = if matches!(reason, Reason::None) && carries_data(ops) {
        Reason::Unread
    } else {
        reason
    };
    if !matches!(reason, Reason::None) {
        flow.reason = reason;
        return;
    }
    let Some(end) = pairs::own_of(flow) else {
        return;
    };
    // It may have connected before.
    let may_return = sv_config
        .get(0)
        .is_some_and(|config| enrol::may_return(flow, sock, config));
    if !may_return {
        flow.reason = Reason::TooSoon;
        return;
    }
    enrol::eagerly(ops, flow, end, sock);
    if matches!(
        (flow.side, flow.enrolment),
        (Side::Server, Enrolment::Eager)
    ) {
        count!(eager);
        if let Some(pair) = sv_watched.get_ptr_mut(flow.place) {
            // SAFETY: the pair was noted a moment ago, by this callback.
            unsafe {
                (*pair).rebase = 1;
                core::ptr::write_volatile(&raw mut (*pair).stage, Stage::Enrolled);
            }
        }
        let peer = pairs::peer_of(flow).cookie;
        // The client tells it, as it has a row already.
        events::of_pair(What::ADOPT, peer, flow.cookie, Reason::None);
    }
}

/// Returns why a socket whose connection begins may not be enrolled now, though
/// a visit may adopt it later.
///
/// The child of a listener is ESTABLISHED in a moment, and a listener stands
/// for its next child.
#[inline(always)]
fn unready(sock: Sock, candidate: Candidate) -> Reason {
    match processes::of(sock) {
        Reason::None => suitable::unsuitable(&Candidate {
            state: TCP_ESTABLISHED,
            ..candidate
        }),
        uninspected => uninspected,
    }
}

/// Returns why the end that a listener accepts next would not be enrolled, as
/// far as the listener tells.
#[inline(always)]
fn refusal(listener: Sock, assume: u32) -> Reason {
    if !listener.has_file() {
        return Reason::Kernel;
    }
    match habits::of(listener, Side::Server, assume) {
        Reason::None => unready(
            listener,
            Candidate {
                // Only a connection tells of these.
                mptcp: false,
                foreign: false,
                ..listener.candidate(false)
            },
        ),
        habit => habit,
    }
}

/// True when the packet of the callback brings payload: it is longer than its
/// header, which is all that the program may look at.
#[inline(always)]
fn carries_data(ops: *mut bpf_sock_ops) -> bool {
    let length = u64::from(field!(ops, skb_len));
    let header = field!(ops, __bindgen_anon_3.skb_data) as u64;
    let end = field!(ops, __bindgen_anon_4.skb_data_end) as u64;
    length > end - header
}

/// Remembers the client that asked a listener for a connection.
///
/// The request has no sequence numbers that a program could read. So this is by
/// address, and only a hint; it must not be more.
#[inline(always)]
fn asked(ops: *mut bpf_sock_ops, assume: u32) {
    if field!(ops, is_fullsock) != 0 {
        return;
    }
    let eager = sv_config
        .get(0)
        .is_some_and(|config| matches!(config.mode, Mode::Eager));
    if eager {
        let (_, listener) = sock::asked(ops as u64);
        let reason = refusal(listener, assume);
        let address = address!(ops, remote_ip4, remote_ip6);
        let client = Endpoint {
            address,
            port: u32::from_be(field!(ops, remote_port)),
        };
        // A full map drops the oldest; a hint that is lost costs only that
        // the client is adopted later instead.
        let _ = sv_asked.insert(&client, &reason, 0);
    }
}

/// Returns what a listener of this host said that was asked by this client, if
/// one was.
#[inline(always)]
fn was_asked(ops: *mut bpf_sock_ops) -> Option<Reason> {
    let address = address!(ops, local_ip4, local_ip6);
    let client = Endpoint {
        address,
        port: field!(ops, local_port),
    };
    // SAFETY: an entry of a preallocated map, one word.
    let reason = unsafe { *sv_asked.get_ptr(&client)? };
    let _ = sv_asked.remove(&client);
    Some(reason)
}
