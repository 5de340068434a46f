//! The judgement of a pair: made at its first look, and again when the policy or
//! what it asks for has changed.

use socketvirt_common::{
    record::{
        pair::Side,
        policy::{Active, DEFAULT, Dimension},
        watch::{Stage, Watched, WatchedEnd},
    },
    rule::{policy::Action, vouch},
};

use super::{
    active,
    ask::{action_of, assume_at, sv_rule_of},
    count,
    facts::mark_of,
};
use crate::{kernel::sock::Sock, maps::sv_watched};

/// Brings what the policy says of the pair of a place up to date, once it can be found
/// by its sockets. No reference to the pair may be held meanwhile.
#[inline(always)]
pub fn refresh(place: u32) {
    if sv_is_old(place) != 0 {
        sv_judge(place);
    }
}

/// Returns 1 when the policy is to be asked about the pair of a place. Apart from
/// `sv_look`, because that shares one stack with what it calls (K-BPF-11 in
/// `docs/kernel`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_is_old(place: u32) -> u32 {
    let Some(pair) = sv_watched.get_ptr(place) else {
        return 0;
    };
    // SAFETY: a place of the array; the agent's programs run one at a time.
    let pair = unsafe { &*pair };
    let active = active();
    let is_old = matches!(pair.stage, Stage::Plain | Stage::Enrolled | Stage::Leaving)
        && pair.since != 0
        && (pair.policy != active.generation() || has_changed(active, pair));
    u32::from(is_old)
}

/// True when a rule may match now that did not, or the other way round.
#[inline(always)]
fn has_changed(active: Active, pair: &Watched) -> bool {
    let asks = active.uses(Dimension::Executable)
        || active.uses(Dimension::Uid)
        || active.uses(Dimension::Gid);
    let changed = |end: &WatchedEnd| end.mark != mark_of(active, Sock(end.sock), end.reader);
    asks && (changed(&pair.ends[0]) || changed(&pair.ends[1]))
}

/// Asks the policy about the pair of a place.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_judge(place: u32) -> u32 {
    let Some(pair) = sv_watched.get_ptr_mut(place) else {
        return 0;
    };
    // SAFETY: the agent's programs run one at a time; elsewhere a place is
    // written before it is noted, and single words of it.
    let pair = unsafe { &mut *pair };
    let open = |end: &WatchedEnd| Sock(end.sock).cookie() == end.cookie;
    if !open(&pair.ends[0]) || !open(&pair.ends[1]) {
        // It is over, or an end of it.
        return 0;
    }
    let active = active();
    let seat = pair.seat;
    count::leave_seat(pair);
    let before = [pair.ends[0].rule, pair.ends[1].rule];
    let [client, server] = &mut pair.ends;
    let one = ask(active, client, Side::Client);
    let other = ask(active, server, Side::Server);
    let now = [client.rule, server.rule];
    pair.assume = vouch::put(assumed(client), assumed(server));
    let action = one.stricter(other);
    if action as u32 != pair.action as u32 {
        pair.observed = 0;
    }
    pair.action = action;
    if matches!(
        (one, other),
        (Action::Undecided, _) | (_, Action::Undecided)
    ) {
        // The next look asks again.
        pair.policy = 0;
    } else {
        // Another policy has counters of its own.
        let anew = pair.policy != active.generation();
        if now[0] != before[0] || anew {
            count::decided(now[0]);
        }
        if (now[1] != before[1] || anew) && now[1] != now[0] {
            count::decided(now[1]);
        }
        pair.policy = active.generation();
        if anew && matches!(pair.stage, Stage::Enrolled) {
            count::keep_seat(pair);
            count::enrolled(pair);
        }
    }
    if seat != 0 {
        count::keep_seat(pair);
    }
    0
}

/// Returns what the rule of an end vouches for.
#[inline(always)]
fn assumed(end: &WatchedEnd) -> u32 {
    match end.rule {
        0 => 0,
        place => assume_at(place - 1),
    }
}

/// Asks about one end.
#[inline(always)]
fn ask(active: Active, end: &mut WatchedEnd, side: Side) -> Action {
    if active.generation() == 0 {
        end.rule = 0;
        return Action::Eager;
    }
    end.mark = mark_of(active, Sock(end.sock), end.reader);
    let rule = sv_rule_of(end.sock, end.sock, side as u32, end.reader);
    if rule > DEFAULT {
        end.rule = 0;
        return Action::Undecided;
    }
    end.rule = active.slot(rule) + 1;
    action_of(active, rule)
}
