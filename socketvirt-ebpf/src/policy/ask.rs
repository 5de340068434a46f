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
use crate::{
    kernel::sock::Sock,
    maps::{sv_config, sv_rules},
};

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

/// What the policy says of an end at its handshake.
#[derive(Clone, Copy)]
pub struct Permit {
    /// The end may be enrolled.
    pub eager: bool,
    /// What is vouched for of its program.
    pub assume: u32,
}

/// Asks the policy about an end at its handshake.
#[inline(always)]
pub fn permit(named: Sock, sock: Sock, side: Side) -> Permit {
    let active = active();
    let always = sv_config.get(0).map_or(0, |config| config.assume);
    if active.generation() == 0 {
        return Permit {
            eager: true,
            assume: always,
        };
    }
    let rule = sv_rule_of(named.0, sock.0, side as u32, 0);
    Permit {
        eager: matches!(action_of(active, rule), Action::Eager),
        assume: always | assume_of(active, rule),
    }
}

/// Returns what a rule vouches for.
#[inline(always)]
fn assume_of(active: Active, rule: u32) -> u32 {
    if rule > DEFAULT {
        return 0;
    }
    assume_at(active.slot(rule))
}

/// The same by the place of the rule in `sv_rules`.
#[inline(always)]
pub fn assume_at(place: u32) -> u32 {
    // SAFETY: an entry of an array, written before its policy is in force.
    sv_rules
        .get_ptr(place)
        .map_or(0, |info| unsafe { (*info).assume })
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
