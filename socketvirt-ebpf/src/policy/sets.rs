//! The sets of rules that match each property of a connection, and the first rule
//! that is in all of them.

use core::arch::asm;

use aya_ebpf::btf_maps::lpm_trie::Key;
use socketvirt_common::{
    record::policy::{
        ALL, Active, DEFAULT, Dimension, NameKey, NetKey, NetSets, PortSets, Set, SetKey, UNNAMED,
        WORDS,
    },
    rule::policy::lowest,
};

use super::{active, facts::Facts};
use crate::maps::{
    sv_rule_asked, sv_rule_names, sv_rule_nets, sv_rule_ports, sv_rule_sets, sv_rule_values,
    sv_tiers,
};

/// The answer when something is not known yet that decides.
pub const UNDECIDED: u32 = DEFAULT + 1;

/// Bits of an address key: the generation, and all of the address.
const WHOLE: u32 = 32 + 128;

/// The sets of a connection, by number.
struct Found {
    server_port: u32,
    client_port: u32,
    either_port: [u32; 2],
    server: u32,
    client: u32,
    either: [u32; 2],
    cgroup: u32,
    namespace: u32,
    uid: u32,
    gid: u32,
    executable: u32,
}

/// The sets without which no rule is certain: rules that do not restrict what is
/// not known yet.
struct Doubt {
    cgroup: u32,
    gid: u32,
    executable: u32,
}

/// Returns the rule that decides about a connection: its number, [`DEFAULT`], or
/// [`UNDECIDED`].
#[inline(always)]
pub fn rule(active: Active, facts: impl Facts) -> u32 {
    let mut found = Found {
        server_port: ALL,
        client_port: ALL,
        either_port: [ALL; 2],
        server: ALL,
        client: ALL,
        either: [ALL; 2],
        cgroup: ALL,
        namespace: ALL,
        uid: ALL,
        gid: ALL,
        executable: ALL,
    };
    let mut doubt = Doubt {
        cgroup: ALL,
        gid: ALL,
        executable: ALL,
    };
    places(active, facts, &mut found);
    owners(active, facts, &mut found, &mut doubt);
    let rule = first(active, &found);
    let certain = rule >= DEFAULT
        || has(active, doubt.cgroup, rule)
            && has(active, doubt.gid, rule)
            && has(active, doubt.executable, rule);
    // A policy is taken away after the next one is in force. So all that was read
    // is of this one while it is.
    if certain && self::active().generation() == active.generation() {
        rule
    } else {
        UNDECIDED
    }
}

/// Finds the sets of ports and addresses.
#[inline(always)]
fn places(active: Active, facts: impl Facts, found: &mut Found) {
    if active.uses(Dimension::Port) {
        let (server, client) = facts.ports();
        let (server, client) = (port(active, server), port(active, client));
        found.server_port = server.server.into();
        found.client_port = client.client.into();
        found.either_port = [server.either.into(), client.either.into()];
    }
    if active.uses(Dimension::Address) {
        let server = net(active, facts.server());
        found.server = server.server;
        found.either[0] = server.either;
        let client = net(active, facts.client());
        found.client = client.client;
        found.either[1] = client.either;
    }
}

/// Finds the sets of what an end belongs to.
#[inline(always)]
fn owners(active: Active, facts: impl Facts, found: &mut Found, doubt: &mut Doubt) {
    if active.uses(Dimension::Namespace) {
        found.namespace = value(active, Dimension::Namespace, facts.netns());
    }
    if active.uses(Dimension::Uid) {
        found.uid = value(active, Dimension::Uid, facts.uid());
    }
    if active.uses(Dimension::Gid) {
        match facts.gid() {
            Some(gid) => found.gid = value(active, Dimension::Gid, gid),
            None => doubt.gid = unrestricted(active, Dimension::Gid),
        }
    }
    if active.uses(Dimension::Cgroup) {
        let key = name(active, Dimension::Cgroup, facts.cgroup(), 0);
        match named(&key) {
            0 => {
                ask(&key, 0);
                doubt.cgroup = unrestricted(active, Dimension::Cgroup);
            }
            set => found.cgroup = set,
        }
    }
    if active.uses(Dimension::Executable) {
        let file = facts.executable();
        let key = name(active, Dimension::Executable, file.inode, file.version);
        // Of a process that was not looked at the agent knows nothing either.
        let set = if file.inode == 0 { 0 } else { named(&key) };
        if set == 0 {
            if file.inode != 0 {
                ask(&key, file.pid);
            }
            doubt.executable = unrestricted(active, Dimension::Executable);
        } else {
            found.executable = set;
        }
    }
}

#[inline(always)]
fn port(active: Active, port: u16) -> PortSets {
    match sv_rule_ports.get_ptr(active.port(port)) {
        // SAFETY: an entry of an array, written before its policy is in force.
        Some(sets) => unsafe { *sets },
        None => PortSets::default(),
    }
}

#[inline(always)]
fn net(active: Active, address: [u32; 4]) -> NetSets {
    let generation = active.generation();
    let key = Key::new(
        WHOLE,
        NetKey {
            generation,
            address,
        },
    );
    sv_rule_nets.get(&key).copied().unwrap_or_default()
}

#[inline(always)]
const fn name(active: Active, dimension: Dimension, value: u64, version: u64) -> NameKey {
    NameKey {
        value,
        version,
        generation: active.generation(),
        dimension,
    }
}

/// Returns the set of a name; 0 while the agent was not asked for it.
#[inline(always)]
fn named(key: &NameKey) -> u32 {
    // SAFETY: one word.
    sv_rule_names.get_ptr(key).map_or(0, |set| unsafe { *set })
}

/// Returns the set of a value. Values that no rule names share one.
#[inline(always)]
fn value(active: Active, dimension: Dimension, value: u32) -> u32 {
    let key = name(active, dimension, value.into(), 0);
    match sv_rule_values.get_ptr(&key) {
        // SAFETY: one word.
        Some(set) => unsafe { *set },
        None => unrestricted(active, dimension),
    }
}

/// Returns the set of the rules that do not restrict a dimension.
#[inline(always)]
fn unrestricted(active: Active, dimension: Dimension) -> u32 {
    let key = name(active, dimension, UNNAMED, 0);
    // SAFETY: one word.
    sv_rule_values
        .get_ptr(&key)
        .map_or(0, |set| unsafe { *set })
}

/// Asks the agent which rules match a name.
#[inline(always)]
fn ask(key: &NameKey, pid: u32) {
    // A full map drops the oldest, which is asked for again.
    let _ = sv_rule_asked.insert(key, &u64::from(pid), 0);
    if let Some(tiers) = sv_tiers.get_ptr_mut(0) {
        // SAFETY: a number that only says whether any was asked for.
        unsafe { (*tiers).unnamed += 1 };
    }
}

#[inline(always)]
fn set(active: Active, set: u32) -> Option<&'static Set> {
    let generation = active.generation();
    let found = sv_rule_sets.get_ptr(&SetKey { generation, set })?;
    // SAFETY: an entry of the map, which nobody changes; of a policy that was
    // taken away meanwhile the caller makes no use.
    Some(unsafe { &*found })
}

/// The number `n`, about which the compiler knows nothing: the verifier shall see
/// one turn of a loop after another.
#[inline(always)]
fn opaque(n: u64) -> u64 {
    let mut n = n;
    // Not an empty text: two lines of source would then begin at one instruction,
    // which the kernel refuses.
    // SAFETY: sets a register to what it has.
    unsafe {
        asm!(
            "{n} = {n}",
            n = inout(reg) n,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    n
}

/// Returns the first rule that is in all sets, [`DEFAULT`] without one.
#[inline(always)]
fn first(active: Active, found: &Found) -> u32 {
    let Some(all) = set(active, ALL) else {
        return UNDECIDED;
    };
    macro_rules! set_of {
        ($number:expr) => {
            match $number {
                ALL => all,
                number => match set(active, number) {
                    Some(set) => set,
                    None => return UNDECIDED,
                },
            }
        };
    }
    let sets = [
        set_of!(found.server_port),
        set_of!(found.client_port),
        set_of!(found.server),
        set_of!(found.client),
        set_of!(found.cgroup),
        set_of!(found.namespace),
        set_of!(found.uid),
        set_of!(found.gid),
        set_of!(found.executable),
    ];
    let ports = [set_of!(found.either_port[0]), set_of!(found.either_port[1])];
    let nets = [set_of!(found.either[0]), set_of!(found.either[1])];
    let mut summary = (ports[0].summary | ports[1].summary) & (nets[0].summary | nets[1].summary);
    for set in sets {
        summary &= set.summary;
    }
    let mut word = 0;
    while word < WORDS as u64 {
        let at = (opaque(word) & (WORDS as u64 - 1)) as usize;
        if summary >> at == 0 {
            break;
        }
        if summary >> at & 1 != 0 {
            let mut common =
                (ports[0].words[at] | ports[1].words[at]) & (nets[0].words[at] | nets[1].words[at]);
            for set in sets {
                common &= set.words[at];
            }
            if common != 0 {
                return at as u32 * 64 + lowest(common);
            }
        }
        word += 1;
    }
    DEFAULT
}

/// True when a rule is in a set.
#[inline(always)]
fn has(active: Active, number: u32, rule: u32) -> bool {
    if number == ALL {
        return true;
    }
    let at = (opaque(u64::from(rule) / 64) & (WORDS as u64 - 1)) as usize;
    set(active, number).is_some_and(|set| set.words[at] >> (rule % 64) & 1 != 0)
}
