//! The users of a watched end: the process that reads it, and those that hold it
//! beside.

use socketvirt_common::{
    reason::Reason,
    record::{
        pair::Side,
        reader::{self, Process},
        watch::{Shared, Tiers, WatchedEnd},
    },
    rule::vouch::{lift, of_process},
};

use super::{ends::ends, habits, vouch};
use crate::{
    kernel::{
        load::{offset, read},
        sock::Sock,
    },
    maps::{sv_processes, sv_shared, sv_tiers, sv_watched},
    program::rings,
};

/// Returns why a process that reads an end, or holds it beside its reader, keeps
/// it on the stack. While the end is enrolled, holders that were not looked up
/// yet do not: most are another thread in the middle of a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_users(known: u32, enrolled: u32) -> u32 {
    let (Some((end, _, side)), Some(tiers)) = (ends(known), sv_tiers.get_ptr_mut(0)) else {
        return Reason::NotInspected as u32;
    };
    // SAFETY: the agent's programs run one at a time.
    let tiers = unsafe { &mut *tiers };
    let assume = vouch::of(known);
    let reader = match reader_of(end, side, assume, tiers, enrolled != 0) {
        // It may have passed the socket on unseen.
        Reason::None if !is_seen(known, tiers) => Reason::NotInspected,
        reader => reader,
    };
    if !matches!(reader, Reason::None) {
        return reader as u32;
    }
    match lift(holders_of(end, known, tiers), assume) {
        Reason::NotInspected if enrolled != 0 => Reason::None as u32,
        holder => holder as u32,
    }
}

/// Returns why the process that reads an end keeps it on the stack.
#[inline(always)]
fn reader_of(
    end: &WatchedEnd,
    side: Side,
    assume: u32,
    tiers: &mut Tiers,
    enrolled: bool,
) -> Reason {
    if end.reader == 0 {
        return Reason::NotInspected;
    }
    let Some(process) = sv_processes.get_ptr_mut(&end.reader) else {
        // It was dropped for others. The process that receives next is entered
        // anew.
        return Reason::NotInspected;
    };
    // SAFETY: an entry of a preallocated map; a torn one is looked at again.
    let process = unsafe { &mut *process };
    if process.again != 0 || matches!(process.reason, Reason::NotInspected) {
        tiers.uninspected += 1;
    } else if has_loaded(process) {
        process.again = reader::LOADED;
        tiers.uninspected += 1;
    }
    if is_remembered(end.reader, process, enrolled) {
        habits::keep_off(Sock(end.sock), side, process.reason);
    }
    let reason = of_process(process.splices != 0, process.reason, assume);
    if process.again == reader::MADE_RING && !enrolled && matches!(reason, Reason::None) {
        return Reason::NotInspected;
    }
    reason
}

/// True when receive calls on the sockets of the pair of an end are recorded.
#[inline(always)]
fn is_seen(known: u32, tiers: &Tiers) -> bool {
    let pair = sv_watched.get_ptr(known >> 1);
    // SAFETY: one word.
    tiers.blind == 0 && pair.is_some_and(|pair| unsafe { (*pair).seen } != 0)
}

/// True when it is known who reads an end. Who read it before receive calls went
/// unwatched may have passed it on.
#[inline(always)]
pub fn has_reader(end: &WatchedEnd, tiers: &Tiers) -> bool {
    end.reader != 0 && tiers.blind == 0
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
    Reason::NotInspected
}

/// True when the next process of a reader's program is kept off too, as it may show
/// the same only after the first of its sockets was adopted.
///
/// So it is with a map of sockets: of a socket that is found in a map this says
/// nothing, as it may be there by another agent. And with networking by a ring that
/// was seen too late.
#[inline(always)]
fn is_remembered(name: u64, process: &Process, enrolled: bool) -> bool {
    match process.reason {
        Reason::Foreign => true,
        Reason::Ring => enrolled && (process.ringed == reader::NETWORK || rings::networks(name)),
        _ => false,
    }
}

/// True when the process has mapped other code since it was inspected.
#[inline(always)]
fn has_loaded(process: &Process) -> bool {
    process.memory != 0 && read::<u64>(process.memory, offset!(mm_code)) != process.code
}
