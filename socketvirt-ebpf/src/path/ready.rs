//! Readiness of one end: what speaks against the fast path. A look asks without
//! the end's lock; the visit that enrols asks again under it.

use socketvirt_common::{
    reason::Reason,
    record::{
        pair::{Enrolment, Side},
        reader::{self, Process},
        watch::{Shared, Tiers, Watched, WatchedEnd},
    },
    rule::{
        release::{self, Leaving},
        suitable,
    },
};

use super::{enrol, habits};
use crate::{
    kernel::{
        load::{offset, read},
        sock::Sock,
    },
    maps::{sv_config, sv_processes, sv_shared, sv_tiers, sv_watched},
};

/// Returns why an end may not be enrolled now; [`Reason::None`] when it may.
#[inline(always)]
pub fn unready(known: u32) -> Reason {
    Reason::of(sv_unready(known))
}

/// Returns why an enrolled end shall leave, if it shall.
#[inline(always)]
pub fn leave_for(known: u32, how: Enrolment) -> Reason {
    Reason::of(sv_leave_for(
        known,
        u32::from(matches!(how, Enrolment::Eager)),
    ))
}

/// Returns a watched end, its side, and its peer.
#[inline(always)]
fn ends(known: u32) -> Option<(&'static mut WatchedEnd, &'static mut WatchedEnd, Side)> {
    let pair = sv_watched.get_ptr_mut(known >> 1)?;
    // SAFETY: the agent's programs run one at a time; others write single words.
    let [client, server] = unsafe { &mut (*pair).ends };
    Some(match Side::of(known) {
        Side::Client => (client, server, Side::Client),
        Side::Server => (server, client, Side::Server),
    })
}

/// Does [`unready`], as a function that the verifier looks at by itself, and
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unready(known: u32) -> u32 {
    let Some((end, peer, side)) = ends(known) else {
        return Reason::MapFull as u32;
    };
    ask(end, known, side, Sock(peer.sock)) as u32
}

/// Does [`leave_for`] likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_leave_for(known: u32, eager: u32) -> u32 {
    let Some((end, _, side)) = ends(known) else {
        return Reason::None as u32;
    };
    stays_unless(Sock(end.sock), known, side, eager != 0) as u32
}

/// Returns why the options and the state of an end keep it on the stack.
///
/// Cut off from those that ask, like [`sv_users`]: their frames share one stack
/// with what they call (K-BPF-11 in `docs/kernel`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unsuitable(known: u32, enrolled: u32) -> u32 {
    let Some((end, ..)) = ends(known) else {
        return Reason::None as u32;
    };
    suitable::unsuitable(&Sock(end.sock).facts(enrolled != 0)) as u32
}

/// Returns why what an end has to read, or who waits for it, keeps it on the stack
/// for the moment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unadoptable(known: u32) -> u32 {
    let (Some((end, ..)), Some(config)) = (ends(known), sv_config.get(0)) else {
        return Reason::MapFull as u32;
    };
    suitable::unadoptable(&Sock(end.sock).reading(), config.receive_mode) as u32
}

/// Returns why a process that reads an end, or holds it beside its reader, keeps
/// it on the stack. While the end is enrolled, holders that were not looked up
/// yet do not: most are another thread in the middle of a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_users(known: u32, enrolled: u32) -> u32 {
    let (Some((end, _, side)), Some(tiers)) = (ends(known), sv_tiers.get_ptr_mut(0)) else {
        return Reason::NotLooked as u32;
    };
    // SAFETY: the agent's programs run one at a time.
    let tiers = unsafe { &mut *tiers };
    let reader = reader_of(end, tiers);
    remember_map(Sock(end.sock), side, reader);
    if !matches!(reader, Reason::None) {
        return reader as u32;
    }
    match holders_of(end, known, tiers) {
        Reason::NotLooked if enrolled != 0 => Reason::None as u32,
        holder => holder as u32,
    }
}

#[inline(always)]
fn ask(end: &mut WatchedEnd, known: u32, side: Side, peer: Sock) -> Reason {
    let sock = Sock(end.sock);
    let habit = habits::shown(sock, side);
    if !matches!(habit, Reason::None) {
        return habit;
    }
    let reason = Reason::of(sv_unsuitable(known, 0));
    if !matches!(reason, Reason::None) {
        habits::remember(sock, side, reason);
        if matches!(reason, Reason::Urgent) {
            habits::remember(peer, side.other(), reason);
        }
        return reason;
    }
    if !enrol::has_done(end.flow, sock) {
        return Reason::TooSoon;
    }
    let reason = Reason::of(sv_unadoptable(known));
    if !matches!(reason, Reason::None) {
        return reason;
    }
    let reason = Reason::of(sv_users(known, 0));
    if !matches!(reason, Reason::None) {
        return reason;
    }
    if !sock.witness().agrees(peer.witness()) {
        return Reason::PeerNotProved;
    }
    Reason::None
}

/// Returns why a process that holds an end beside its reader keeps it on the
/// stack. The agent is asked who they are.
#[inline(always)]
fn holders_of(end: &WatchedEnd, known: u32, tiers: &mut Tiers) -> Reason {
    let sock = Sock(end.sock);
    let references = sock.holders();
    if references <= 1 {
        return Reason::None;
    }
    if reader::holders_known(references, end.holders) {
        return end.holder;
    }
    let shared = Shared {
        end: known,
        references: references as u32,
    };
    // With a full map it is asked again.
    let _ = sv_shared.insert(&sock.file(), &shared, 0);
    tiers.shared += 1;
    Reason::NotLooked
}

/// True for a reason that is about the moment: the pair is looked at again
/// soon.
#[inline(always)]
pub fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::None
            | Reason::Unread
            | Reason::ReaderAsleep
            | Reason::NotLooked
            | Reason::PeerNotProved
            | Reason::TooSoon
    )
}

/// Returns why the process that reads an end keeps it on the stack.
#[inline(always)]
fn reader_of(end: &WatchedEnd, tiers: &mut Tiers) -> Reason {
    if end.reader == 0 {
        return Reason::NotLooked;
    }
    let Some(process) = sv_processes.get_ptr_mut(&end.reader) else {
        // It was dropped for others. The process that receives next is entered
        // anew.
        return Reason::NotLooked;
    };
    // SAFETY: an entry of a preallocated map; a torn one is looked at again.
    let process = unsafe { &mut *process };
    if process.again != 0 || matches!(process.reason, Reason::NotLooked) {
        tiers.unlooked += 1;
    } else if has_loaded(process) {
        process.again = 1;
        tiers.unlooked += 1;
    }
    process.reason
}

/// Remembers a program that has a map of sockets, which its next process may make
/// only after the first of its sockets was adopted. Of a socket that is found in a
/// map this says nothing: it may be there by another agent.
#[inline(always)]
fn remember_map(sock: Sock, side: Side, reader: Reason) {
    if matches!(reader, Reason::Foreign) {
        habits::keep_off(sock, side, reader);
    }
}

/// True when the process has mapped other code since it was looked at.
#[inline(always)]
fn has_loaded(process: &Process) -> bool {
    process.memory != 0 && read::<u64>(process.memory, offset!(mm_code)) != process.code
}

#[inline(always)]
fn stays_unless(sock: Sock, known: u32, side: Side, eager: bool) -> Reason {
    let habit = if eager {
        habits::of(sock, side)
    } else {
        habits::shown(sock, side)
    };
    if !matches!(habit, Reason::None) {
        return habit;
    }
    let reason = Reason::of(sv_unsuitable(known, 1));
    let blocking = sock.is_blocking();
    if blocking && !eager {
        return Reason::Blocking;
    }
    // A closing connection goes by itself, and has bytes to deliver.
    if !matches!(reason, Reason::None | Reason::Closing) {
        return reason;
    }
    if !eager {
        let user = Reason::of(sv_users(known, 1));
        if !matches!(user, Reason::None) {
            return user;
        }
    }
    if !blocking && sock.waits_for_nothing() {
        return Reason::MemoryLimit;
    }
    Reason::None
}

/// Reads what decides whether an end of a leaving pair may go.
#[inline(always)]
pub fn leaving(end: &WatchedEnd, peer: &WatchedEnd, leave: Reason) -> Leaving {
    let sock = Sock(end.sock);
    let psock = sock.psock();
    let other = Sock(peer.sock);
    Leaving {
        stopped: true,
        peer_quiet: peer.quiet != 0 || other.cookie() != peer.cookie || !other.psock().exists(),
        psock_refs: psock.refs(),
        held_by_readers: release::readers_hold(sock.is_blocking(), leave),
        queue_empty: psock.queue_empty(),
        backlog_empty: sock.backlog_empty(psock),
    }
}

/// True when a visit can help an end of a leaving pair.
#[inline(always)]
pub fn may_visit(pair: &mut Watched) -> bool {
    let leave = pair.leave;
    let [client, server] = &mut pair.ends;
    note_quiet(client);
    note_quiet(server);
    is_helped(client, server, leave) || is_helped(server, client, leave)
}

#[inline(always)]
fn note_quiet(end: &mut WatchedEnd) {
    if release::quiet(true, Sock(end.sock).psock().refs()) {
        end.quiet = 1;
    }
}

#[inline(always)]
fn is_helped(end: &WatchedEnd, peer: &WatchedEnd, leave: Reason) -> bool {
    let sock = Sock(end.sock);
    sock.cookie() == end.cookie
        && sock.psock().exists()
        && (release::may_leave(&leaving(end, peer, leave))
            || sock.rcvlowat() > 1 && !sock.receive_queue_empty()
            || sock.waits_for_nothing())
}
