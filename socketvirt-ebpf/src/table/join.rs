//! What an agent knows of a socket, for a reader that shares its maps.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use socketvirt_common::record::{Header, Joined, Tag};

use super::iterate::{IterSocket, write};
use crate::{enrol, kernel::Sock, pairs};

/// One TCP socket of a namespace.
#[inline(always)]
pub fn on_socket(ctx: *mut IterSocket) {
    let Some((meta, sk)) = IterSocket::of(ctx) else {
        return;
    };
    // SAFETY: the verifier checks `sk`; requests and TIME_WAIT give null.
    let tcp_sock = unsafe { bpf_skc_to_tcp_sock(sk) };
    if tcp_sock.is_null() {
        return;
    }
    let Some(flow) = enrol::flow_of(sk) else {
        return;
    };
    if flow.cookie == 0 {
        return;
    }
    // SAFETY: the verifier checks `sk`.
    let id = unsafe { bpf_get_socket_cookie(sk) };
    let sock = Sock(tcp_sock as u64);
    let mut traffic = flow.total;
    // Up to date only after a scan of the agent.
    traffic.stack_bytes = sock.bytes_sent();
    let joined = Joined {
        id,
        peer: pairs::peer_of(flow).cookie,
        handshake: flow.id,
        side: flow.side,
        path: flow.path,
        reason: flow.reason,
        enrolment: flow.enrolment,
        traffic,
    };
    write!(meta, Tag::Joined, &joined);
}
