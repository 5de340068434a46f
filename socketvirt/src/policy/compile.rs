//! Compiling: from rules to the sets that the kernel side looks up.

use std::{collections::HashMap, fs, net::Ipv6Addr, os::unix::fs::MetadataExt as _};

use socketvirt_common::{
    record::policy::{ALL, DEFAULT, Dimension, NetSets, PORTS, PortSets, RuleInfo, Set},
    rule::policy,
};

use super::{
    file::{Action, Policy, Rule},
    value::{
        Many,
        address::{Ports, Prefix},
        owner::{Gid, Namespace, Uid},
    },
};

/// A policy that is too large.
#[derive(Debug, thiserror::Error)]
#[error(
    "the policy has {0} different combinations of rules, at most 65535 are possible; have fewer rules \
     whose ports and addresses overlap in part"
)]
pub struct TooMany(usize);

/// A policy, as the maps hold it.
#[derive(Debug)]
pub struct Compiled {
    /// The dimensions that rules restrict, as bits.
    pub uses: u16,
    /// Number of rules.
    pub rules: u32,
    /// What rules say, by number, with the default.
    pub infos: Vec<(u32, RuleInfo)>,
    /// The sets; the number of the first is [`ALL`].
    pub sets: Vec<Set>,
    /// The sets of each port; none when no rule restricts ports.
    pub ports: Vec<PortSets>,
    /// The sets of each prefix.
    pub nets: Vec<(Prefix, NetSets)>,
    /// The sets of values.
    pub values: Vec<(Dimension, u64, u32)>,
    /// The sets of the rules that do not restrict a dimension.
    pub unrestricted: Vec<(Dimension, u32)>,
}

impl Compiled {
    /// Compiles a policy. Namespaces have the numbers that their files show now.
    ///
    /// # Errors
    /// When it is too large.
    pub fn new(policy: &Policy) -> Result<Self, TooMany> {
        let mut sets = Sets::of(policy);
        let ports = ports(&mut sets, &policy.rules);
        let nets = nets(&mut sets, &policy.rules);
        let mut values = Vec::new();
        let uid = |rule: &Rule| {
            rule.uid
                .as_ref()
                .map(|uid| numbers(uid, |Uid(uid)| Some(*uid)))
        };
        collect(&mut sets, &policy.rules, Dimension::Uid, uid, &mut values);
        let gid = |rule: &Rule| {
            rule.gid
                .as_ref()
                .map(|gid| numbers(gid, |Gid(gid)| Some(*gid)))
        };
        collect(&mut sets, &policy.rules, Dimension::Gid, gid, &mut values);
        let spaces = |rule: &Rule| rule.namespace.as_ref().map(|one| numbers(one, number_of));
        collect(
            &mut sets,
            &policy.rules,
            Dimension::Namespace,
            spaces,
            &mut values,
        );
        let mut uses = 0;
        let mut unrestricted = Vec::new();
        for dimension in DIMENSIONS {
            if policy.rules.iter().any(|rule| restricts(rule, dimension)) {
                uses |= 1 << dimension as u16;
                let free = set_where(&policy.rules, |rule| !restricts(rule, dimension));
                unrestricted.push((dimension, sets.number(&free)));
            }
        }
        if sets.sets.len() > usize::from(u16::MAX) {
            return Err(TooMany(sets.sets.len()));
        }
        Ok(Self {
            uses,
            rules: count(policy),
            infos: infos(policy),
            sets: sets.sets,
            ports: ports.into_iter().map(narrow).collect(),
            nets,
            values,
            unrestricted,
        })
    }
}

impl Compiled {
    /// Takes out what rules vouch for, which then changes nothing.
    pub fn without_vouches(&mut self) {
        for (_, info) in &mut self.infos {
            info.assume = 0;
        }
    }
}

/// Every dimension.
pub const DIMENSIONS: [Dimension; 7] = [
    Dimension::Port,
    Dimension::Address,
    Dimension::Cgroup,
    Dimension::Namespace,
    Dimension::Uid,
    Dimension::Gid,
    Dimension::Executable,
];

/// True when a rule restricts a dimension.
#[must_use]
pub fn restricts(rule: &Rule, dimension: Dimension) -> bool {
    match dimension {
        Dimension::Port => {
            rule.server_port.is_some() || rule.client_port.is_some() || rule.port.is_some()
        }
        Dimension::Address => {
            rule.server_address.is_some() || rule.client_address.is_some() || rule.address.is_some()
        }
        Dimension::Cgroup => {
            rule.cgroup.is_some()
                || rule.unit.is_some()
                || rule.pod.is_some()
                || rule.container.is_some()
        }
        Dimension::Namespace => rule.namespace.is_some(),
        Dimension::Uid => rule.uid.is_some(),
        Dimension::Gid => rule.gid.is_some(),
        Dimension::Executable => rule.executable.is_some(),
    }
}

/// Returns the set of the rules that are so.
pub fn set_where(rules: &[Rule], mut is: impl FnMut(&Rule) -> bool) -> Set {
    let mut set = Set::EMPTY;
    for (number, rule) in (0..).zip(rules) {
        if is(rule) {
            set.add(number);
        }
    }
    set
}

/// Returns the number that a namespace has now; none when it is not there.
#[must_use]
pub fn number_of(namespace: &Namespace) -> Option<u32> {
    match namespace {
        Namespace::Number(number) => Some(*number),
        Namespace::Path(path) => fs::metadata(path)
            .ok()
            .and_then(|found| found.ino().try_into().ok()),
    }
}

fn count(policy: &Policy) -> u32 {
    u32::try_from(policy.rules.len())
        .unwrap_or(DEFAULT)
        .min(DEFAULT)
}

/// The action of a file in the words of the kernel side.
fn action(action: Action) -> policy::Action {
    match action {
        Action::Adopt => policy::Action::Adopt,
        Action::Eager => policy::Action::Eager,
        Action::Off => policy::Action::Off,
        Action::Observe => policy::Action::Observe,
    }
}

fn infos(policy: &Policy) -> Vec<(u32, RuleInfo)> {
    let of = |rule: &Rule| RuleInfo {
        action: action(*rule.action.get_ref()),
        max_pairs: rule
            .max_pairs
            .as_ref()
            .and_then(|most| u32::try_from(*most.get_ref()).ok())
            .unwrap_or(0),
        assume: rule.assumes(),
    };
    let default = RuleInfo {
        action: action(policy.default),
        max_pairs: 0,
        assume: 0,
    };
    let rules = (0..).zip(policy.rules.iter().map(of));
    rules.chain([(DEFAULT, default)]).collect()
}

/// The sets that were met, each once.
struct Sets {
    sets: Vec<Set>,
    numbers: HashMap<Set, u32>,
}

impl Sets {
    fn of(policy: &Policy) -> Self {
        let mut sets = Self {
            sets: Vec::new(),
            numbers: HashMap::new(),
        };
        // The first number is that of all rules.
        sets.number(&set_where(&policy.rules, |_| true));
        sets
    }

    fn number(&mut self, set: &Set) -> u32 {
        if let Some(number) = self.numbers.get(set) {
            return *number;
        }
        let number = ALL + u32::try_from(self.sets.len()).unwrap_or(u32::MAX - ALL);
        self.sets.push(*set);
        self.numbers.insert(*set, number);
        number
    }
}

/// A set to which rules come and from which they go.
#[derive(Clone)]
struct Moving(Set);

impl Moving {
    fn change(&mut self, rule: u32, comes: bool) {
        if comes {
            self.0.add(rule);
            return;
        }
        let word = rule as usize / 64;
        self.0.words[word] &= !(1 << (rule % 64));
        if self.0.words[word] == 0 {
            self.0.summary &= !(1 << word);
        }
    }
}

/// The property of a rule that is one of three.
type Property<T> = fn(&Rule) -> Option<&Many<T>>;

const PORT_KINDS: [Property<Ports>; 3] = [
    |rule| rule.server_port.as_ref(),
    |rule| rule.client_port.as_ref(),
    |rule| rule.port.as_ref(),
];

/// The sets of each port, of three kinds.
fn ports(sets: &mut Sets, rules: &[Rule]) -> Vec<[u32; 3]> {
    if !rules.iter().any(|rule| restricts(rule, Dimension::Port)) {
        return Vec::new();
    }
    let mut all = vec![[ALL; 3]; PORTS as usize];
    for (kind, of) in PORT_KINDS.into_iter().enumerate() {
        let mut changes: Vec<Vec<(u32, bool)>> = vec![Vec::new(); PORTS as usize + 1];
        for (number, rule) in (0..).zip(rules) {
            for ports in of(rule).map(joined).unwrap_or_default() {
                changes[usize::from(ports.first)].push((number, true));
                changes[usize::from(ports.last) + 1].push((number, false));
            }
        }
        let mut moving = Moving(set_where(rules, |rule| of(rule).is_none()));
        let mut number = sets.number(&moving.0);
        for (port, of_port) in all.iter_mut().enumerate() {
            if !changes[port].is_empty() {
                for (rule, comes) in &changes[port] {
                    moving.change(*rule, *comes);
                }
                number = sets.number(&moving.0);
            }
            of_port[kind] = number;
        }
    }
    all
}

/// The ranges of a rule without overlaps; a rule leaves a set before it comes again.
fn joined(ports: &Many<Ports>) -> Vec<Ports> {
    let mut ranges = ports.0.clone();
    ranges.sort_by_key(|ports| ports.first);
    let mut all: Vec<Ports> = Vec::new();
    for one in ranges {
        match all.last_mut() {
            Some(last) if u32::from(one.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(one.last);
            }
            _ => all.push(one),
        }
    }
    all
}

/// Numbers of static sets fit, as [`Compiled::new`] sees to.
fn narrow([server, client, either]: [u32; 3]) -> PortSets {
    let of = |set: u32| u16::try_from(set).unwrap_or(0);
    PortSets {
        server: of(server),
        client: of(client),
        either: of(either),
        reserved: 0,
    }
}

const ADDRESS_KINDS: [Property<Prefix>; 3] = [
    |rule| rule.server_address.as_ref(),
    |rule| rule.client_address.as_ref(),
    |rule| rule.address.as_ref(),
];

/// The sets of each prefix: of the rules that name it, or one that it is within.
fn nets(sets: &mut Sets, rules: &[Rule]) -> Vec<(Prefix, NetSets)> {
    if !rules.iter().any(|rule| restricts(rule, Dimension::Address)) {
        return Vec::new();
    }
    let everything = Prefix {
        address: Ipv6Addr::UNSPECIFIED,
        bits: 0,
    };
    let mut named: HashMap<Prefix, Vec<(usize, u32)>> = HashMap::from([(everything, Vec::new())]);
    for (number, rule) in (0..).zip(rules) {
        for (kind, of) in ADDRESS_KINDS.into_iter().enumerate() {
            for prefix in of(rule).map_or(&[][..], |many| &many.0) {
                named.entry(*prefix).or_default().push((kind, number));
            }
        }
    }
    let mut prefixes: Vec<Prefix> = named.keys().copied().collect();
    // Those that a prefix is within come before it, the shortest first.
    prefixes.sort_unstable();
    let free = ADDRESS_KINDS.map(|of| set_where(rules, |rule| of(rule).is_none()));
    let mut within: Vec<(Prefix, [Set; 3])> = Vec::new();
    let mut all = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        while within
            .last()
            .is_some_and(|(above, _)| !above.has(prefix.address.into()))
        {
            within.pop();
        }
        let mut of = within.last().map_or(free, |(_, of)| *of);
        for (kind, number) in &named[&prefix] {
            of[*kind].add(*number);
        }
        let [server, client, either] = of.map(|set| sets.number(&set));
        all.push((
            prefix,
            NetSets {
                server,
                client,
                either,
            },
        ));
        within.push((prefix, of));
    }
    all
}

fn numbers<T>(many: &Many<T>, number: impl Fn(&T) -> Option<u32>) -> Vec<u64> {
    many.0.iter().filter_map(number).map(u64::from).collect()
}

/// The sets of the values of a dimension that rules name.
fn collect(
    sets: &mut Sets,
    rules: &[Rule],
    dimension: Dimension,
    values: impl Fn(&Rule) -> Option<Vec<u64>>,
    all: &mut Vec<(Dimension, u64, u32)>,
) {
    let named: Vec<Option<Vec<u64>>> = rules.iter().map(values).collect();
    let mut free = Set::EMPTY;
    let mut by_value: HashMap<u64, Vec<u32>> = HashMap::new();
    for (number, values) in (0..).zip(named) {
        match values {
            None => free.add(number),
            Some(values) => {
                for value in values {
                    by_value.entry(value).or_default().push(number);
                }
            }
        }
    }
    for (value, numbers) in by_value {
        let mut set = free;
        for number in numbers {
            set.add(number);
        }
        all.push((dimension, value, sets.number(&set)));
    }
}
