//! The questions that the tiers ask: which rule, and what it says.

use aya_ebpf::programs::RawTracePointContext;
use socketvirt_common::{
    record::{
        pair::Side,
        policy::{Active, DEFAULT},
    },
    rule::policy::Action,
};

use super::{
    active,
    facts::{End, Told},
    sets::{self, UNDECIDED},
};
use crate::{kernel::sock::Sock, maps::sv_rules};

/// Returns the rule for an end: its number, [`DEFAULT`], or [`UNDECIDED`].
///
/// `named` and `sock` are the same address, but for a request and its listener.
/// The verifier looks at this function by itself, and once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_rule_of(named: u64, sock: u64, server: u32, reader: u64) -> u32 {
    let end = End {
        named: Sock(named),
        sock: Sock(sock),
        side: Side::of(server),
        reader,
    };
    sets::rule(active(), end)
}

/// True when an end may be enrolled at its handshake, as far as the policy is
/// asked.
#[inline(always)]
pub fn may_be_eager(named: Sock, sock: Sock, side: Side) -> bool {
    let active = active();
    if active.generation() == 0 {
        return true;
    }
    let rule = sv_rule_of(named.0, sock.0, side as u32, 0);
    matches!(action_of(active, rule), Action::Eager)
}

/// Returns what a rule says.
#[inline(always)]
pub fn action_of(active: Active, rule: u32) -> Action {
    if rule > DEFAULT {
        return Action::Undecided;
    }
    match sv_rules.get_ptr(active.slot(rule)) {
        // SAFETY: an entry of an array, written before its policy is in force.
        Some(info) => unsafe { (*info).action },
        None => Action::Undecided,
    }
}

/// Returns the rule for a connection that is told in the arguments: two words of
/// the server's address, two of the client's, both ports, cgroup, namespace and
/// user, group, inode, version, pid.
#[inline(always)]
pub fn decide(ctx: &RawTracePointContext) -> u32 {
    sets::rule(active(), Told(ctx))
}

const _: () = assert!(UNDECIDED > DEFAULT);
