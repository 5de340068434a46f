//! Counting for the rules of a policy.

use socketvirt_common::record::{
    flow::Traffic,
    policy::RuleStats,
    watch::{Watched, WatchedEnd},
};

use super::active;
use crate::maps::{sv_rule_stats, sv_rules};

/// Returns the counters of the rule of an end, if it has one. The agent's programs
/// write them one at a time; what a socket that ends adds at the same moment may
/// be lost.
#[inline(always)]
fn of(rule: u32) -> Option<&'static mut RuleStats> {
    if rule == 0 {
        return None;
    }
    let stats = sv_rule_stats.get_ptr_mut(rule - 1)?;
    // SAFETY: an entry of an array.
    Some(unsafe { &mut *stats })
}

/// Does something to the counters of both ends' rules; once when they have the
/// same.
macro_rules! each {
    ($pair:expr, |$stats:ident| $change:expr) => {{
        let (one, other) = ($pair.ends[0].rule, $pair.ends[1].rule);
        if let Some($stats) = of(one) {
            $change;
        }
        if one != other
            && let Some($stats) = of(other)
        {
            $change;
        }
    }};
}

/// Counts a pair that was enrolled.
#[inline(always)]
pub fn enrolled(pair: &Watched) {
    each!(pair, |stats| stats.enrolled += 1);
}

/// Counts a pair that would have been enrolled; once.
#[inline(always)]
pub fn observed(pair: &mut Watched) {
    if pair.observed == 0 {
        pair.observed = 1;
        each!(pair, |stats| stats.observed += 1);
    }
}

/// True when the rule of an end lets no further pair be enrolled.
#[inline(always)]
fn is_full(rule: u32) -> bool {
    let Some(stats) = of(rule) else {
        return false;
    };
    let full = sv_rules.get_ptr(rule - 1).is_some_and(|info| {
        // SAFETY: an entry of an array, written before its policy is in force.
        let most = unsafe { (*info).max_pairs };
        most != 0 && stats.now >= u64::from(most)
    });
    if full {
        stats.full += 1;
    }
    full
}

/// Counts a pair as one that is enrolled, unless a rule's limit is reached.
/// Returns false then.
#[inline(always)]
pub fn take_seat(pair: &mut Watched) -> bool {
    if pair.seat == active().generation() {
        return true;
    }
    if is_full(pair.ends[0].rule) || is_full(pair.ends[1].rule) {
        return false;
    }
    keep_seat(pair);
    true
}

/// Counts a pair that is enrolled already, whatever the limits are.
#[inline(always)]
pub fn keep_seat(pair: &mut Watched) {
    let generation = active().generation();
    if pair.seat != generation {
        pair.seat = generation;
        each!(pair, |stats| stats.now += 1);
    }
}

/// Counts a pair no longer as enrolled. The counters of an earlier policy are those
/// of another one by now.
#[inline(always)]
pub fn leave_seat(pair: &mut Watched) {
    if pair.seat != 0 && pair.seat == active().generation() {
        each!(pair, |stats| stats.now = stats.now.saturating_sub(1));
    }
    pair.seat = 0;
}

/// Counts a pair that a rule has decided about, for an end that had another rule
/// before.
#[inline(always)]
pub fn decided(rule: u32) {
    if let Some(stats) = of(rule) {
        stats.pairs += 1;
    }
}

/// Counts what an end has sent by the stack.
#[inline(always)]
pub fn stack(end: &WatchedEnd, bytes: u64) {
    if let Some(stats) = of(end.rule) {
        stats.stack_bytes += bytes;
    }
}

/// Counts what an end has redirected, up to this total.
#[inline(always)]
pub fn fast(end: &mut WatchedEnd, total: &Traffic) {
    if let Some(stats) = of(end.rule) {
        stats.fast_bytes += total.fast_bytes.saturating_sub(end.ruled_bytes);
        end.ruled_bytes = total.fast_bytes;
    }
}
