//! The scan: visits every TCP socket under its lock, measures what it sent,
//! adopts and releases.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use socketvirt_common::{
    config::{Config, Mode},
    event::What,
    flow::Flow,
    pair::{End, Enrolment},
    path::Path,
    reason::Reason,
    release::{self, Leaving},
    suitable,
    worth::{self, Worth},
};

use crate::{
    count::{self, count},
    discover, enrol, habits,
    kernel::Sock,
    maps::sv_config,
    pairs, programs, setting,
    table::events,
};

/// `struct bpf_iter__tcp`, `net/ipv4/tcp_ipv4.c`.
#[repr(C)]
pub struct IterTcp {
    meta: *mut c_void,
    sk_common: *mut c_void,
    uid: u64,
}

/// Measuring scans that must find the traffic worth it, after the scan that
/// discovered the pair and since it was last found to be bulk.
const WORTHY_SCANS: u32 = 1;

/// Scans for which an end that was ready counts as ready: an end is ready only
/// between two messages, and both are rarely so in one scan.
const READY_SCANS: u32 = 8;

/// Scans that a pair waits after one that found it to be bulk.
const BULK_SCANS: u32 = 4;

/// Scans that an enrolled socket waits for its peer to be enrolled too.
const ALONE_SCANS: u32 = 20;

/// One socket of the iteration.
#[inline(always)]
pub fn on_socket(ctx: *mut IterTcp) {
    // SAFETY: a field of the context.
    let sk = unsafe { core::ptr::read_volatile(&raw const (*ctx).sk_common) };
    if sk.is_null() {
        return;
    }
    // SAFETY: the verifier checks `sk`; requests and TIME_WAIT give null.
    let tcp_sock = unsafe { bpf_skc_to_tcp_sock(sk) };
    if tcp_sock.is_null() {
        return;
    }
    let Some(config) = sv_config.get(0) else {
        return;
    };
    let Some(flow) = enrol::flow_of(sk) else {
        discover::follow(sk, Sock(tcp_sock as u64), config);
        return;
    };
    if flow.cookie == 0 {
        if flow.is_blank() {
            discover::follow(sk, Sock(tcp_sock as u64), config);
        }
        return;
    }
    let Some(own) = pairs::own_of(flow) else {
        return;
    };
    let sock = Sock(tcp_sock as u64);
    count::flush(flow, sock);
    if config.measure != 0 {
        measure(flow, own, config);
    }
    let peer = pairs::peer_of(flow);
    if matches!(flow.enrolment, Enrolment::None) {
        consider(sk, sock, flow, own, &peer, config);
    } else {
        keep(sk, sock, flow, own, &peer, config);
    }
}

/// Publishes what the socket sent since the last measuring scan.
#[inline(always)]
fn measure(flow: &mut Flow, own: &mut End, config: &Config) {
    let total = count::sent(flow, config.scan);
    flow.sent_before = own.sent;
    own.sent.scan = config.scan;
    own.sent.bytes = total.bytes - flow.scanned.bytes;
    own.sent.messages = total.messages.wrapping_sub(flow.scanned.messages);
    flow.scanned = total;
}

/// A socket that is not enrolled: adopts it once both ends have proved
/// suitable and worth it.
#[inline(always)]
fn consider(
    sk: *mut c_void,
    sock: Sock,
    flow: &mut Flow,
    own: &mut End,
    peer: &End,
    config: &Config,
) {
    if !peer.is_known() {
        flow.reason = Reason::PeerNotHere;
        return;
    }
    if !sock.witness().agrees(Sock(peer.sock).witness()) {
        flow.reason = Reason::PeerNotProved;
        return;
    }
    let habit = habits::of(sock, flow.side);
    if !matches!(habit, Reason::None) {
        pin(flow, own, peer, habit);
        return;
    }
    let unlooked = programs::of(sock);
    if !matches!(unlooked, Reason::None) {
        flow.reason = unlooked;
        return;
    }
    // The pair has left: both are free to be adopted again.
    if matches!(peer.enrolment, Enrolment::None) {
        own.leave = Reason::None;
        own.quiet = 0;
    }
    if matches!(config.mode, Mode::Off) || config.draining != 0 {
        flow.reason = Reason::Draining;
        return;
    }
    if config.measure != 0 {
        match worth::judge_latest(&own.sent, &flow.sent_before, &peer.sent) {
            // A pause takes nothing back of what was proved before.
            Worth::Unknown | Worth::Quiet => {}
            Worth::Exchange => flow.worthy_scans += 1,
            Worth::Bulk => {
                flow.worthy_scans = 0;
                flow.not_before_scan = flow.not_before_scan.max(config.scan + BULK_SCANS);
                own.ready_scan = 0;
                flow.reason = Reason::Bulk;
                return;
            }
        }
    }
    let mut reason = suitable::unsuitable(&sock.facts(false));
    habits::remember_of_both(sock, flow.side, peer, reason);
    if matches!(reason, Reason::None) {
        reason = suitable::unadoptable(&sock.reading(), config.receive_mode);
    }
    if !matches!(reason, Reason::None) {
        flow.reason = reason;
        // Unread bytes pass by themselves; look again at once.
        if matches!(reason, Reason::Unread) && flow.worthy_scans >= WORTHY_SCANS {
            count!(waiting);
        }
        return;
    }
    // What the peer has found out about the pair is true for this end too.
    let peer_ready = peer.ready_scan != 0 && peer.ready_scan + READY_SCANS >= config.scan;
    if flow.worthy_scans < WORTHY_SCANS && !peer_ready || config.scan < flow.not_before_scan {
        flow.reason = Reason::NotWorth;
        return;
    }
    if !enrol::may_return(flow, sock, config) {
        flow.reason = Reason::TooSoon;
        return;
    }
    let peer_leaving = matches!(peer.enrolment, Enrolment::Leaving)
        || !matches!(peer.leave, Reason::None)
        || !matches!(own.leave, Reason::None);
    if peer_leaving {
        return;
    }
    let first_ready = own.ready_scan != config.scan;
    own.ready_scan = config.scan;
    let peer_active = peer.enrolment.is_active();
    if peer_active || peer_ready {
        enrol::adopt(sk, flow, own, sock, config);
        if flow.enrolment.is_active() && peer_active {
            flow.paired = 1;
            count!(adopted);
            tell(What::ADOPT, own, peer, Reason::None);
        } else {
            count!(waiting);
        }
    } else if first_ready {
        flow.reason = Reason::PeerNotEnrolled;
        count!(waiting);
    }
}

/// An enrolled socket: finds what it must leave for, and lets it go once
/// nothing is under way.
#[inline(always)]
fn keep(sk: *mut c_void, sock: Sock, flow: &mut Flow, own: &mut End, peer: &End, config: &Config) {
    if peer.enrolment.is_active() {
        flow.paired = 1;
    }
    wake_starved(sk, sock);
    if !enrol::take_unread(sk, sock, config) {
        count!(waiting);
    }
    let reading = sock.reading();
    let blocking = reading.has_file && !reading.nonblocking;
    if matches!(own.leave, Reason::None) {
        own.leave = leave_for(sock, flow, own, peer, config, blocking);
        habits::remember_of_both(sock, flow.side, peer, own.leave);
    }
    // A peer that is not known has no reason either.
    if matches!((own.leave, peer.leave), (Reason::None, Reason::None)) {
        return;
    }
    if flow.enrolment.is_active() {
        enrol::stop(flow, own);
        flow.reason = if matches!(own.leave, Reason::None) {
            peer.leave
        } else {
            own.leave
        };
        count!(waiting);
    }
    free_stuck(sk, sock, flow);
    let psock = sock.psock();
    let refs = psock.refs();
    if release::quiet(true, refs) {
        own.quiet = 1;
    }
    let peer_gone = !peer.is_known() || matches!(peer.enrolment, Enrolment::None);
    let leaving = Leaving {
        stopped: true,
        peer_quiet: peer_gone || peer.quiet != 0,
        psock_refs: refs,
        held_by_readers: release::readers_hold(blocking, own.leave),
        queue_empty: psock.queue_empty(),
        backlog_empty: sock.backlog_empty(psock),
    };
    if !release::may_leave(&leaving) {
        return;
    }
    enrol::remove(flow);
    own.enrolment = Enrolment::None;
    // It may have been told to wait since it was woken last.
    wake_starved(sk, sock);
    if flow.rcvlowat != 0 {
        setting::rcvlowat(sk, flow.rcvlowat);
        flow.rcvlowat = 0;
    }
    flow.worthy_scans = 0;
    flow.releases += 1;
    if !peer_gone {
        count!(waiting);
    } else if flow.paired != 0 && peer.is_known() {
        count!(released);
        tell(What::RELEASE, own, peer, flow.reason);
    }
    flow.paired = 0;
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
        setting::rcvlowat(sk, 1);
    }
}

/// `tcp_bpf_sendmsg` needs memory for a copy, and answers `EAGAIN` without, also
/// when nothing is under way whose acknowledgement would wake the program:
/// plain TCP has memory for a first packet in any case. Setting
/// `TCP_NOTSENT_LOWAT` wakes who waits for room (`do_tcp_setsockopt`).
#[inline(always)]
fn wake_starved(sk: *mut c_void, sock: Sock) {
    if sock.waits_for_nothing() {
        setting::notsent_lowat(sk, sock.notsent_lowat());
    }
}

/// Leaves a socket on the stack for good.
#[inline(always)]
fn pin(flow: &mut Flow, own: &End, peer: &End, reason: Reason) {
    flow.reason = reason;
    if !matches!(flow.path, Path::Pinned) {
        flow.path = Path::Pinned;
        tell(What::PIN, own, peer, reason);
    }
}

/// Tells who follows what happened to a pair.
#[inline(always)]
fn tell(what: What, own: &End, peer: &End, reason: Reason) {
    events::of_pair(what, own.cookie, peer.cookie, reason);
}

/// Why an enrolled socket shall leave, if it shall.
#[inline(always)]
fn leave_for(
    sock: Sock,
    flow: &Flow,
    own: &End,
    peer: &End,
    config: &Config,
    blocking: bool,
) -> Reason {
    if config.draining != 0 || matches!(config.mode, Mode::Off) {
        return Reason::Draining;
    }
    let habit = habits::of(sock, flow.side);
    if !matches!(habit, Reason::None) {
        return habit;
    }
    let reason = suitable::unsuitable(&sock.facts(true));
    if blocking && matches!(flow.enrolment, Enrolment::Adopted) {
        return Reason::Blocking;
    }
    // A closing connection goes by itself, and has bytes to deliver.
    if !matches!(reason, Reason::None | Reason::Closing) {
        return reason;
    }
    if !peer.is_known() {
        return Reason::None;
    }
    if !blocking && sock.waits_for_nothing() {
        return Reason::MemoryLimit;
    }
    if matches!(peer.enrolment, Enrolment::None) && config.scan > own.ready_scan + ALONE_SCANS {
        return Reason::PeerNotEnrolled;
    }
    // A blocking socket cannot leave; it gains nothing from being stopped.
    if config.measure != 0
        && !blocking
        && matches!(
            worth::judge_latest(&own.sent, &flow.sent_before, &peer.sent),
            Worth::Bulk
        )
    {
        return Reason::Bulk;
    }
    Reason::None
}
