//! The knowledge of an agent about a socket, for a reader that shares its maps.

use core::ffi::c_void;

use socketvirt_common::record::{
    flow::{Path, Traffic},
    pair::{Enrolment, Side},
    stream::{Header, Joined, Tag},
};

use super::pairs;
use crate::{
    flows,
    kernel::sock::Sock,
    maps::{sv_ends, sv_watched},
    table::iterate::{Meta, write},
};

/// Visits one TCP socket of a namespace.
#[inline(always)]
pub fn on_socket(meta: *mut Meta, sk: *mut c_void, sock: Sock) {
    if let Some(flow) = flows::of(sk)
        && flow.cookie != 0
    {
        let mut traffic = flow.total;
        traffic.stack_bytes = sock.bytes_sent();
        let joined = Joined {
            id: flow.cookie,
            peer: pairs::peer_of(flow).cookie,
            handshake: flow.id,
            side: flow.side,
            path: flow.path,
            reason: reason_of(flow.cookie, flow.enrolment).unwrap_or(flow.reason),
            enrolment: flow.enrolment,
            traffic,
        };
        write!(meta, Tag::Joined, &joined);
    } else {
        watched(meta, sock);
    }
}

/// Returns why a socket that is not enrolled is on the stack, as the last look
/// found.
#[inline(always)]
fn reason_of(cookie: u64, enrolment: Enrolment) -> Option<socketvirt_common::reason::Reason> {
    if !matches!(enrolment, Enrolment::None) {
        return None;
    }
    // SAFETY: one word.
    let known = unsafe { *sv_ends.get_ptr(&cookie)? };
    let pair = sv_watched.get_ptr(known >> 1)?;
    // SAFETY: a place of the array; one word of it.
    let ends = unsafe { &(*pair).ends };
    Some(if known & 1 == 0 {
        ends[0].reason
    } else {
        ends[1].reason
    })
}

/// Tells of a socket that is watched, and was never acted on.
#[inline(always)]
fn watched(meta: *mut Meta, sock: Sock) {
    let Some(known) = sv_ends.get_ptr(&sock.cookie()) else {
        return;
    };
    // SAFETY: one word.
    let known = unsafe { *known };
    let Some(pair) = sv_watched.get_ptr(known >> 1) else {
        return;
    };
    // SAFETY: a place of the array.
    let pair = unsafe { &*pair };
    let (side, own, peer) = if known & 1 == 0 {
        (Side::Client, &pair.ends[0], &pair.ends[1])
    } else {
        (Side::Server, &pair.ends[1], &pair.ends[0])
    };
    let joined = Joined {
        id: own.cookie,
        peer: peer.cookie,
        handshake: pair.id,
        side,
        path: if socketvirt_common::rule::habit::is_habit(own.reason) {
            Path::Kept
        } else {
            Path::Stack
        },
        reason: own.reason,
        enrolment: Enrolment::None,
        traffic: Traffic {
            stack_bytes: sock.bytes_sent(),
            stack_messages: u64::from(sock.data_segments_out()),
            ..Traffic::default()
        },
    };
    write!(meta, Tag::Joined, &joined);
}
