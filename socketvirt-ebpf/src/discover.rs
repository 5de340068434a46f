//! Discovery: a scan finds the pairs whose handshake no program has followed.
//!
//! That is every pair of adopt mode, where a handshake costs nothing, and those
//! that are older than the agent.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_getsockopt, bpf_setsockopt};
use socketvirt_common::{
    config::{Config, Mode},
    pair::Side,
    path::TCP_ESTABLISHED,
};

use crate::{
    count::{self, count},
    enrol,
    kernel::Sock,
    maps::sv_seen,
    pairs,
};

/// Scans for which an end that was seen counts as seen.
const SEEN_SCANS: u32 = 64;

const SOL_TCP: u32 = 6;
/// `TCP_BPF_SOCK_OPS_CB_FLAGS`, include/uapi/linux/bpf.h, since 6.12.
const TCP_BPF_SOCK_OPS_CB_FLAGS: u32 = 1008;
const STATE_CB_FLAG: u32 = 4;

/// A socket without a flow: follows it when its peer is on this host too and
/// both have something to say.
#[inline(always)]
pub fn follow(sk: *mut c_void, sock: Sock, config: &Config) {
    if matches!(config.mode, Mode::Off)
        || config.draining != 0
        || sock.state() != TCP_ESTABLISHED
        || sock.shutdown() != 0
        || sock.bytes_sent() == 0
        || sock.bytes_received() == 0
        || config.cgroup != 0 && !sock.is_within(config.cgroup)
    {
        return;
    }
    let own = sock.sequences();
    // A full map drops the oldest, and the next scan enters it again.
    let _ = sv_seen.insert(&own, &config.scan, 0);
    let seen = |side| {
        sv_seen
            .get_ptr(&own.seen_by_peer(side))
            // SAFETY: an entry of a preallocated map.
            .is_some_and(|scan| unsafe { *scan } + SEEN_SCANS >= config.scan)
    };
    let side = if seen(Side::Client) {
        Side::Client
    } else if seen(Side::Server) {
        Side::Server
    } else {
        return;
    };
    if !watch_state(sk) {
        return;
    }
    let Some(flow) = enrol::flow_made(sk) else {
        count!(storage_full);
        return;
    };
    // SAFETY: the verifier checks `sk`.
    let cookie = unsafe { bpf_get_socket_cookie(sk) };
    if !pairs::begin(flow, own.id(side), side, cookie, sock) {
        return;
    }
    // Only what it sends from now on is measured.
    count::flush(flow, sock);
    flow.scanned = count::sent(flow, config.scan);
    // Its peer has only been visited before it, or will be in the next pass.
    count!(waiting);
}

/// Has the socket's end reported, so that its entries go with it.
#[inline(always)]
fn watch_state(sk: *mut c_void) -> bool {
    let mut flags = 0_u32;
    // SAFETY: the verifier checks all arguments.
    unsafe {
        bpf_getsockopt(
            sk,
            SOL_TCP as i32,
            TCP_BPF_SOCK_OPS_CB_FLAGS as i32,
            (&raw mut flags).cast(),
            size_of::<u32>() as i32,
        );
        flags |= STATE_CB_FLAG;
        bpf_setsockopt(
            sk,
            SOL_TCP as i32,
            TCP_BPF_SOCK_OPS_CB_FLAGS as i32,
            (&raw mut flags).cast(),
            size_of::<u32>() as i32,
        ) == 0
    }
}
