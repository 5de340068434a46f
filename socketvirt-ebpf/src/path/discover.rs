//! Discovery: one walk at the start finds the pairs that are older than the
//! agent. No program has followed their handshakes.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use socketvirt_common::{
    record::{pair::Side, watch::Seen},
    uapi::TCP_ESTABLISHED,
};

use super::note::{self, Counted};
use crate::{
    flows,
    kernel::sock::Sock,
    maps::{sv_config, sv_ends, sv_seen},
};

/// Visits one socket of the walk. When its peer was seen before it, both are
/// noted.
#[inline(always)]
pub fn on_socket(sk: *mut c_void, sock: Sock) {
    let Some(config) = sv_config.get(0) else {
        return;
    };
    // The programs of a cgroup are told of the ends of its sockets alone.
    if sock.state() != TCP_ESTABLISHED || sock.shutdown() != 0 || !sock.is_within(config.cgroup) {
        return;
    }
    // SAFETY: the verifier checks `sk`.
    let cookie = unsafe { bpf_get_socket_cookie(sk) };
    if sv_ends.get_ptr(&cookie).is_some() || flows::of(sk).is_some() {
        return;
    }
    let own = sock.sequences();
    let seen = |side| {
        let entry = sv_seen.get_ptr(&own.seen_by_peer(side))?;
        // SAFETY: an entry of a preallocated map; a torn one names no socket.
        let seen = unsafe { core::ptr::read_volatile(entry) };
        let _ = sv_seen.remove(&own.seen_by_peer(side));
        Some((seen.cookie, Sock(seen.sock)))
    };
    if let Some(peer) = seen(Side::Client) {
        note::pair(own.id(Side::Client), (cookie, sock), peer, Counted::New);
    } else if let Some(peer) = seen(Side::Server) {
        note::pair(own.id(Side::Server), peer, (cookie, sock), Counted::New);
    } else {
        let seen = Seen {
            cookie,
            sock: sock.0,
        };
        // A full map drops the oldest.
        let _ = sv_seen.insert(&own, &seen, 0);
    }
}
