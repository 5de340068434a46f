//! Act: visits the sockets of pairs that want to change, under their locks.

use core::ffi::c_void;

use socketvirt_common::{
    reason::Reason,
    record::{
        event::What,
        flow::Flow,
        pair::{Enrolment, Side},
        watch::{Stage, Want, Watched},
    },
    rule::{adoption, release},
};

use super::{enrol, leaving, pairs, ready, vouch, watch};
use crate::{
    count::{self, count},
    flows,
    kernel::{destroy::destroy, setting, sock::Sock},
    maps::{sv_config, sv_ends, sv_tiers, sv_watched},
    policy,
    table::events,
};

/// Visits one socket of the walk. Returns true when it was the last that waited
/// for a visit in this namespace.
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
    let side = Side::of(known);
    if pair.end(side).waits == 0 || pair.end(side).sock != sock.0 {
        return false;
    }
    match pair.want {
        Want::Adopt => adopt(sk, sock, known >> 1, pair, side),
        Want::Release => release(sk, sock, pair, side),
        Want::Wake => {
            wake_starved(sk, sock);
            if let Some(config) = sv_config.get(0) {
                enrol::take_unread(sk, sock, config);
            }
        }
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
fn adopt(sk: *mut c_void, sock: Sock, place: u32, pair: &mut Watched, side: Side) {
    let Some(config) = sv_config.get(0) else {
        return;
    };
    let peer = Sock(pair.end(side.other()).sock);
    if !adoption::goes_on(config.draining != 0, pair.stopped != 0, peer.cookie()) {
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
    let reason = ready::unready(place << 1 | side as u32);
    end.reason = reason;
    flow.reason = reason;
    if !matches!(reason, Reason::None) {
        return;
    }
    if !enrol::may_return(flow, sock, config) {
        end.reason = Reason::TooSoon;
        flow.reason = Reason::TooSoon;
        return;
    }
    own.place = place;
    flow.place = place;
    enrol::adopt(sk, flow, own, sock, config);
    end.reason = flow.reason;
    if !flow.enrolment.is_active() {
        return;
    }
    end.quiet = 0;
    pair.rebase = 1;
    pair.visits = 0;
    if matches!(pair.stage, Stage::Enrolled) {
        count!(adopted);
        count::adoption_time(pair);
        policy::count::enrolled(pair);
        let cookies = (pair.ends[0].cookie, pair.ends[1].cookie);
        events::of_pair(What::ADOPT, cookies.0, cookies.1, Reason::None);
    }
    pair.stage = Stage::Enrolled;
}

/// Returns the flow of a socket, begun when it has none of this connection.
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
    if let Some(flow) = flows::of(sk)
        && flow.cookie != 0
    {
        return (flow.id == pair.id).then_some(flow);
    }
    if !setting::tell_of_its_end(sk) {
        return None;
    }
    let Some(flow) = flows::made(sk) else {
        count!(storage_full);
        pair.end_mut(side).reason = Reason::MapFull;
        return None;
    };
    if !pairs::begin(flow, pair.id, side, pair.end(side).cookie, sock, place) {
        // The pair is not asked again: see `candidate`.
        pair.leave = flow.reason;
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
    let Some(flow) = flows::of(sk) else {
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
    if vouch::is_stuck(pair, side) {
        if destroy(sk) {
            count!(resets);
        }
        return;
    }
    free_stuck(sk, sock, flow);
    let leaving = leaving::facts(pair.end(side), pair.end(side.other()), pair.leave);
    if !release::may_leave(&leaving) {
        return;
    }
    enrol::remove(flow);
    if !matches!(pair.leave, Reason::PolicyOff | Reason::Observed) {
        flow.releases += 1;
    }
    own.enrolment = Enrolment::None;
    own.leave = Reason::None;
    // It may have been told to wait since it was woken last.
    wake_starved(sk, sock);
    if flow.rcvlowat != 0 {
        setting::rcvlowat(sk, flow.rcvlowat);
        flow.rcvlowat = 0;
    }
}

/// Frees a socket that is stuck: it goes without `SO_RCVLOWAT` until it has
/// left.
///
/// Below the mark `tcp_data_ready` wakes nobody, so packets are not taken out
/// of `sk_receive_queue` into the psock. `tcp_bpf_recvmsg_parser` answers
/// `EAGAIN` while they lie there, also when the psock holds bytes. (K-RECV-4 in
/// `docs/kernel`.)
#[inline(always)]
fn free_stuck(sk: *mut c_void, sock: Sock, flow: &mut Flow) {
    let rcvlowat = sock.rcvlowat();
    if rcvlowat > 1 && !sock.receive_queue_empty() {
        flow.rcvlowat = rcvlowat as u32;
        setting::rcvlowat(sk, 1);
    }
}

/// Wakes a program that was told to wait, though nothing is under way whose
/// acknowledgement would wake it.
///
/// `tcp_bpf_sendmsg` needs memory for a copy, and answers `EAGAIN` without it.
/// Plain TCP has memory for a first packet in any case. Setting
/// `TCP_NOTSENT_LOWAT` wakes who waits for room (`do_tcp_setsockopt`). (K-MEM-2
/// in `docs/kernel`.)
#[inline(always)]
fn wake_starved(sk: *mut c_void, sock: Sock) {
    if sock.waits_for_nothing() {
        setting::notsent_lowat(sk, sock.notsent_lowat());
    }
}
