//! Act: visits the sockets of pairs that want to change, under their locks.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_getsockopt, bpf_setsockopt};
use socketvirt_common::{
    event::What,
    flow::Flow,
    pair::{Enrolment, Side},
    reason::Reason,
    release,
    watch::{Stage, Tiers, Want, Watched},
};

use super::{ready, watch};
use crate::{
    count::{self, count},
    enrol,
    kernel::Sock,
    maps::{sv_config, sv_ends, sv_tiers, sv_watched},
    pairs,
    table::events,
};

/// include/uapi/asm-generic/socket.h.
const SOL_SOCKET: i32 = 1;
/// include/uapi/asm-generic/socket.h.
const SO_RCVLOWAT: i32 = 18;
/// include/uapi/linux/in.h.
const IPPROTO_TCP: i32 = 6;
/// include/uapi/linux/tcp.h.
const TCP_NOTSENT_LOWAT: i32 = 25;
/// `TCP_BPF_SOCK_OPS_CB_FLAGS`, include/uapi/linux/bpf.h, since 6.12.
const TCP_BPF_SOCK_OPS_CB_FLAGS: i32 = 1008;
const STATE_CB_FLAG: u32 = 4;

/// One socket of the walk. Returns whether it was the last that waited for a
/// visit in this namespace.
#[inline(always)]
pub fn on_socket(sk: *mut c_void, sock: Sock) -> bool {
    let Some(known) = sv_ends.get_ptr(&sock.cookie()) else {
        return false;
    };
    // SAFETY: one word.
    let known = unsafe { *known };
    let (Some(pair), Some(tiers)) = (sv_watched.get_ptr_mut(known >> 1), sv_tiers.get_ptr_mut(0))
    else {
        return false;
    };
    // SAFETY: the agent's programs run one at a time.
    let (pair, tiers) = unsafe { (&mut *pair, &mut *tiers) };
    let side = if known & 1 == 0 {
        Side::Client
    } else {
        Side::Server
    };
    if pair.end(side).waits == 0 || pair.end(side).sock != sock.0 {
        return false;
    }
    match pair.want {
        Want::Adopt => adopt(sk, sock, known >> 1, pair, side, tiers),
        Want::Release => release(sk, sock, pair, side),
        Want::Wake => wake_starved(sk, sock),
        Want::Nothing => {}
    }
    watch::served(pair.end_mut(side), tiers);
    if pair.ends[0].waits == 0 && pair.ends[1].waits == 0 {
        pair.want = Want::Nothing;
    }
    tiers.waiting_here = tiers.waiting_here.saturating_sub(1);
    tiers.waiting_here == 0
}

/// Enrols an end, if nothing speaks against it under its lock either.
#[inline(always)]
fn adopt(
    sk: *mut c_void,
    sock: Sock,
    place: u32,
    pair: &mut Watched,
    side: Side,
    tiers: &mut Tiers,
) {
    let Some(config) = sv_config.get(0) else {
        return;
    };
    let peer = Sock(pair.end(side.other()).sock);
    if config.draining != 0 || peer.cookie() == 0 {
        return;
    }
    let Some(flow) = flow_of(sk, sock, place, pair, side) else {
        return;
    };
    let Some(own) = pairs::own_of(flow) else {
        return;
    };
    let end = pair.end_mut(side);
    if flow.enrolment.is_active() {
        return;
    }
    let reason = ready::unready(end, place << 1 | side as u32, side, peer, config, tiers);
    end.reason = reason;
    flow.reason = reason;
    if !matches!(reason, Reason::None) {
        return;
    }
    let unread = !sock.reading().all_read;
    own.place = place;
    flow.place = place;
    enrol::adopt(sk, flow, own, sock);
    end.reason = flow.reason;
    if !flow.enrolment.is_active() {
        return;
    }
    if unread {
        count!(adopted_unread);
        // Has the kernel take what is queued into the psock, before anybody
        // can look.
        set_rcvlowat(sk, 1);
    }
    end.quiet = 0;
    pair.rebase = 1;
    pair.visits = 0;
    if matches!(pair.stage, Stage::Enrolled) {
        pair.alone = 0;
        count!(adopted);
        let cookies = (pair.ends[0].cookie, pair.ends[1].cookie);
        events::of_pair(What::ADOPT, cookies.0, cookies.1, Reason::None);
    }
    pair.stage = Stage::Enrolled;
}

/// The flow of a socket, begun when it has none of this connection.
#[inline(always)]
fn flow_of(
    sk: *mut c_void,
    sock: Sock,
    place: u32,
    pair: &mut Watched,
    side: Side,
) -> Option<&'static mut Flow> {
    // The same socket may have another connection by now.
    if sock.sequences().id(side) != pair.id {
        return None;
    }
    if let Some(flow) = enrol::flow_of(sk)
        && flow.cookie != 0
    {
        return (flow.id == pair.id).then_some(flow);
    }
    if !tell_of_its_end(sk) {
        return None;
    }
    let Some(flow) = enrol::flow_made(sk) else {
        count!(storage_full);
        pair.end_mut(side).reason = Reason::MapFull;
        return None;
    };
    if !pairs::begin(flow, pair.id, side, pair.end(side).cookie, sock, place) {
        pair.end_mut(side).reason = flow.reason;
        return None;
    }
    let end = pair.end_mut(side);
    count::goes_on(flow, end);
    end.flow = core::ptr::from_mut(flow) as u64;
    Some(flow)
}

/// Lets an enrolled end go once nothing is under way.
#[inline(always)]
fn release(sk: *mut c_void, sock: Sock, pair: &mut Watched, side: Side) {
    let Some(flow) = enrol::flow_of(sk) else {
        return;
    };
    if flow.cookie == 0 || flow.id != pair.id || matches!(flow.enrolment, Enrolment::None) {
        return;
    }
    let Some(own) = pairs::own_of(flow) else {
        return;
    };
    count::flush(flow, sock);
    wake_starved(sk, sock);
    enrol::stop(flow, own);
    flow.reason = pair.leave;
    free_stuck(sk, sock, flow);
    let leaving = ready::leaving(pair.end(side), pair.end(side.other()), pair.leave);
    if !release::may_leave(&leaving) {
        return;
    }
    enrol::remove(flow);
    flow.enrolment = Enrolment::None;
    own.enrolment = Enrolment::None;
    own.leave = Reason::None;
    // It may have been told to wait since it was woken last.
    wake_starved(sk, sock);
    if flow.rcvlowat != 0 {
        set_rcvlowat(sk, flow.rcvlowat);
        flow.rcvlowat = 0;
    }
}

/// Below `SO_RCVLOWAT`, `tcp_data_ready` wakes nobody, so packets are not taken
/// out of `sk_receive_queue` into the psock; and `tcp_bpf_recvmsg_parser`
/// answers `EAGAIN` while they lie there, also when the psock holds bytes. The
/// socket goes without the option until it has left.
#[inline(always)]
fn free_stuck(sk: *mut c_void, sock: Sock, flow: &mut Flow) {
    let rcvlowat = sock.rcvlowat();
    if rcvlowat > 1 && !sock.receive_queue_empty() {
        flow.rcvlowat = rcvlowat as u32;
        set_rcvlowat(sk, 1);
    }
}

/// `tcp_bpf_sendmsg` needs memory for a copy, and answers `EAGAIN` without, also
/// when nothing is under way whose acknowledgement would wake the program:
/// plain TCP has memory for a first packet in any case. Setting
/// `TCP_NOTSENT_LOWAT` wakes who waits for room (`do_tcp_setsockopt`).
#[inline(always)]
fn wake_starved(sk: *mut c_void, sock: Sock) {
    if sock.waits_for_nothing() {
        set_option(sk, IPPROTO_TCP, TCP_NOTSENT_LOWAT, sock.notsent_lowat());
    }
}

/// Sets `SO_RCVLOWAT`, which also wakes readers of what is there
/// (`tcp_set_rcvlowat`).
#[inline(always)]
fn set_rcvlowat(sk: *mut c_void, bytes: u32) {
    set_option(sk, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

/// Sets an option to a value that it has, or had; false when it is refused.
#[inline(always)]
fn set_option(sk: *mut c_void, level: i32, option: i32, mut value: u32) -> bool {
    // SAFETY: the verifier checks all arguments.
    let answer = unsafe {
        bpf_setsockopt(
            sk,
            level,
            option,
            (&raw mut value).cast(),
            size_of::<u32>() as i32,
        )
    };
    answer == 0
}

/// Has the socket's end reported, so that its entries go with it.
#[inline(always)]
fn tell_of_its_end(sk: *mut c_void) -> bool {
    let mut flags = 0_u32;
    // SAFETY: the verifier checks all arguments.
    unsafe {
        bpf_getsockopt(
            sk,
            IPPROTO_TCP,
            TCP_BPF_SOCK_OPS_CB_FLAGS,
            (&raw mut flags).cast(),
            size_of::<u32>() as i32,
        )
    };
    set_option(
        sk,
        IPPROTO_TCP,
        TCP_BPF_SOCK_OPS_CB_FLAGS,
        flags | STATE_CB_FLAG,
    )
}
