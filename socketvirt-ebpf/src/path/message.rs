//! The path of one message. It runs at every send of an enrolled socket, under
//! its lock.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, sk_action::SK_PASS},
    helpers::generated::{bpf_jiffies64, bpf_msg_redirect_hash},
    programs::SkMsgContext,
};
use socketvirt_common::{
    reason::Reason,
    record::{
        config::{Config, ReceiveMode},
        flow::{Flow, Path, UNKNOWN_GROUP},
        pair::{EndKey, Enrolment},
        watch::NOWHERE,
    },
    rule::{
        call, order,
        path::{self, Decision, Own, Peer},
        watched, way,
    },
    uapi::TCP_ESTABLISHED,
};

use super::{charge, enrol, habits, note, pairs};
use crate::{
    count::count,
    flows,
    kernel::{load::offset, sock::Sock, task, typed::Sender},
    maps::{handle, sv_config, sv_dispatch, sv_fast, sv_watched},
};

/// Goes on in the program that `sv_dispatch` holds. Returns when there is none.
#[inline(always)]
pub fn dispatch(ctx: &SkMsgContext) {
    // SAFETY: nothing is left to drop here.
    unsafe { sv_dispatch.tail_call(ctx, 0) };
}

/// Decides about one message and redirects it when that is safe.
#[inline(always)]
pub fn on_message(ctx: &SkMsgContext) {
    // SAFETY: a field of the context; read once, as the verifier does not
    // follow a merged load of the context pointer.
    let sk = unsafe { core::ptr::read_volatile(&raw const (*ctx.msg).__bindgen_anon_3.sk) };
    let Some(flow) = flows::of(sk.cast()) else {
        return;
    };
    // SAFETY: fields of the context, and of the socket that it shows.
    let (size, state) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.msg).size),
            core::ptr::read_volatile(&raw const (*sk).state),
        )
    };
    let Some(sock) = Sock::of_message(sk.cast()) else {
        return;
    };
    let sender = sock.sender(state);
    // SAFETY: takes nothing. The verifier makes a load of it, which no clock is.
    let now = unsafe { bpf_jiffies64() };
    let decision = decide(flow, sock, sender, size, now);
    let reason = match decision {
        Decision::Redirect => match call::needs_stack(task::send_flags()) {
            Reason::None => {
                if redirect(ctx, flow, sender.write_seq, size) {
                    return;
                }
                Reason::Closing
            }
            reason => {
                leave(flow, sock, reason);
                reason
            }
        },
        Decision::Stack(reason) => reason,
        Decision::Calm => {
            flow.calm -= 1;
            Reason::QueueFull
        }
        Decision::Heartbeat => {
            flow.total.stack_messages += 1;
            flow.stack_at = now;
            return;
        }
    };
    flow.total.stack_messages += 1;
    flow.stack_at = now;
    flow.reason = reason;
    if matches!(flow.path, Path::Fast) {
        flow.path = Path::Stack;
        flow.total.to_stack += 1;
        if matches!(reason, Reason::QueueFull) {
            let run = flow.total.fast_messages - flow.run_from;
            flow.calm = path::calm(flow.limits.queue, run);
        }
    }
}

#[inline(always)]
fn decide(flow: &mut Flow, sock: Sock, sender: Sender, size: u32, now: u64) -> Decision {
    if !flow.enrolment.is_active() {
        return Decision::Stack(Reason::Draining);
    }
    let Some(config) = sv_config.get(0) else {
        return Decision::Stack(Reason::Draining);
    };
    if config.draining != 0 {
        return Decision::Stack(Reason::Draining);
    }
    if config.memory_pressure != 0 {
        return Decision::Stack(Reason::MemoryLimit);
    }
    if !watched::is_watched(config.watched_until, now) {
        return Decision::Stack(Reason::Unwatched);
    }
    if flow.peer_cookie == 0
        && let Some(reason) = meet(flow, sock, config)
    {
        return Decision::Stack(reason);
    }
    if let Some(pair) = sv_watched.get_ptr(flow.place)
        // SAFETY: one word of a place, written by the agent's programs.
        && unsafe { core::ptr::read_volatile(&raw const (*pair).stopped) } != 0
    {
        return Decision::Stack(Reason::Draining);
    }
    // This memory may be another socket's by now. The peer has then left
    // `sv_fast`, where its name never comes back: whatever is decided, a redirect
    // finds nobody, and the message takes the stack.
    let peer = Sock(flow.peer_sock).receiver();
    if peer.queued == 0 {
        flow.since_empty = 0;
    }
    let own = Own {
        state: sender.state,
        shutdown: sender.shutdown,
        write_seq: sender.write_seq,
        path: flow.path,
        fast_write_seq: flow.fast_write_seq,
        since_empty: flow.since_empty,
        calm: flow.calm,
        size,
        largest: flow.limits.largest,
        stack_age: now.saturating_sub(flow.stack_at) * u64::from(offset!(tick)),
    };
    let decision = path::decide(
        &own,
        &Peer {
            shutdown: peer.shutdown,
            copied_seq: if own.stays_fast() {
                0
            } else {
                Sock(flow.peer_sock).copied_seq()
            },
            queued: peer.queued,
            limit: way::room(
                flow.limits.queue,
                peer.rcvbuf,
                flow.limits.queue != 0 && Sock(flow.peer_sock).has_fixed_buffer(),
            ),
        },
    );
    if matches!(decision, Decision::Redirect) && !charge::is_certain(flow, size) {
        return Decision::Stack(Reason::MemoryLimit);
    }
    decision
}

/// Gives up on a program that sends in a way that a redirect does not have.
/// This message and all that follow take the stack, and the next look releases
/// the pair: enrolled sockets are slower on the stack than plain ones.
#[inline(always)]
fn leave(flow: &mut Flow, own: Sock, reason: Reason) {
    let peer = pairs::peer_of(flow);
    habits::remember_of_both(own, flow.side, &peer, reason);
    if let Some(end) = pairs::own_of(flow) {
        end.leave = reason;
        enrol::stop(flow, end);
        note::wake();
    }
}

/// Looks the peer up in the pair, and returns why not to redirect to it.
///
/// It does so until the peer is enrolled, has proved that it gets what this
/// socket sends, and has proved that it reads the fast way.
#[inline(always)]
fn meet(flow: &mut Flow, own: Sock, config: &Config) -> Option<Reason> {
    let peer = pairs::peer_of(flow);
    if !peer.is_known() {
        return Some(Reason::PeerNotHere);
    }
    if !own.packet_hash().agrees(Sock(peer.sock).packet_hash()) {
        return Some(Reason::PeerNotProved);
    }
    match peer.enrolment {
        Enrolment::Eager => {}
        Enrolment::Adopted => {
            if !order::receiver_proved(Sock(peer.sock).copied_seq(), peer.enrolled_copied_seq) {
                return Some(Reason::ReaderNotProved);
            }
        }
        Enrolment::None | Enrolment::Leaving => return Some(Reason::PeerNotEnrolled),
    }
    if flow.place == NOWHERE {
        // The client of a handshake was entered before its server came.
        flow.place = peer.place;
    }
    let unified = matches!(config.receive_mode, ReceiveMode::Unified);
    let way = way::between(own.net(), Sock(peer.sock).net());
    flow.limits = way::limits(way, unified);
    flow.pressure = own.pressure_note();
    flow.peer_group = UNKNOWN_GROUP;
    flow.peer_sock = peer.sock;
    flow.peer_cookie = peer.cookie;
    None
}

/// Redirects the message and counts it. Returns false when the peer is not in
/// the map any more.
#[inline(always)]
fn redirect(ctx: &SkMsgContext, flow: &mut Flow, write_seq: u32, size: u32) -> bool {
    let mut key = EndKey {
        id: flow.id,
        side: flow.side.other(),
    };
    // SAFETY: the verifier checks all arguments.
    let answer = unsafe {
        bpf_msg_redirect_hash(
            ctx.msg,
            handle(&sv_fast),
            (&raw mut key).cast(),
            u64::from(BPF_F_INGRESS),
        )
    };
    if answer != i64::from(SK_PASS) {
        // A peer that is being closed has left the map, which is no error.
        let peer = Sock(flow.peer_sock);
        if peer.cookie() == flow.peer_cookie && peer.state() == TCP_ESTABLISHED {
            count!(redirect_missed);
        }
        return false;
    }
    flow.total.fast_bytes += u64::from(size);
    flow.total.fast_messages += 1;
    flow.since_empty += 1;
    flow.fast_write_seq = write_seq;
    if !matches!(flow.path, Path::Fast) {
        flow.path = Path::Fast;
        flow.run_from = flow.total.fast_messages - 1;
        flow.total.to_fast += 1;
        flow.reason = Reason::None;
    }
    true
}
