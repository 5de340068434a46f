//! Who talks to whom: pairs of the same programs in the same places, added up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::{
    counts::{Counts, float},
    pairs::{Pair, Side},
    place,
    rates::Rates,
    units::tenths,
};
use crate::table::names::escape;

/// Ports and process ids of one node or link that are kept, at most.
const LISTED: usize = 32;

/// Who talks to whom.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Groups {
    /// The programs, most traffic first. Links name them by their place in this list.
    pub nodes: Vec<Node>,
    /// Their connections, most traffic first.
    pub links: Vec<Link>,
}

/// The processes of one name in one cgroup.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Node {
    /// The name of the processes; none where no process has the socket open.
    pub process: Option<String>,
    /// Path of the cgroup; none when it is gone.
    pub cgroup: Option<String>,
    /// The container, the unit or the cgroup in short.
    pub place: String,
    /// The processes, 32 at most.
    pub pids: BTreeSet<u32>,
    /// Nodes that were put together here, because there are too many; 0 for one program.
    pub others: usize,
    /// Bytes a second, both ways, of all its links.
    pub bytes_per_s: f64,
}

/// The connections of two nodes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Link {
    /// The node that connects, as place in the list of nodes.
    pub client: usize,
    /// The node that is connected to.
    pub server: usize,
    /// The ports of the server, 32 at most.
    pub ports: BTreeSet<u32>,
    /// Connections.
    pub connections: usize,
    /// Bytes a second, both ways.
    pub bytes_per_s: f64,
    /// Messages a second, both ways.
    pub messages_per_s: f64,
    /// The share of the bytes that was redirected, from 0 to 1; none of no bytes.
    pub fast_share: Option<f64>,
    /// `fast` and `stack` where one carries 95% of the bytes or more, or else `mixed`. Without
    /// bytes it is the path of the connections.
    pub path: &'static str,
    /// The reason of those that are not fast, by the bytes of the stack.
    pub reason: &'static str,
    /// What it means.
    pub why_not: &'static str,
    #[serde(skip)]
    pub(crate) sums: Sums,
}

/// What is added up for a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    sent: Counts,
    fast: usize,
    mixed: usize,
    /// Bytes of the stack, connections and words by reason.
    reasons: BTreeMap<&'static str, (u64, usize, &'static str)>,
}

/// From this share on the whole is called by its larger part: the heartbeat takes the
/// stack in any case.
const MOSTLY: f64 = 0.95;

/// What tells nodes apart.
type Key = (Option<String>, Option<String>);

/// Adds up the pairs.
#[must_use]
pub fn of(rates: &Rates) -> Groups {
    let mut groups = Groups::default();
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut links: HashMap<(usize, usize), usize> = HashMap::new();
    for pair in &rates.pairs {
        let [client, server] = [&pair.client, &pair.server].map(|side| {
            let key = (side.end.command.clone(), side.end.cgroup.clone());
            let at = *places.entry(key).or_insert_with(|| groups.add(side));
            groups.nodes[at].join(side);
            at
        });
        let at = *links.entry((client, server)).or_insert_with(|| {
            groups.links.push(Link {
                client,
                server,
                ..Link::default()
            });
            groups.links.len() - 1
        });
        groups.links[at].join(pair);
    }
    groups.finish(rates.over_seconds);
    groups
}

impl Groups {
    fn add(&mut self, side: &Side) -> usize {
        self.nodes.push(Node {
            process: side.end.command.clone(),
            cgroup: side.end.cgroup.clone(),
            place: place::short(side.end.cgroup.as_deref()),
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    /// Leaves `most` nodes: those with the least traffic become one, `others`.
    #[must_use]
    pub fn at_most(&self, most: usize, seconds: f64) -> Self {
        let most = most.max(1);
        if self.nodes.len() <= most {
            return self.clone();
        }
        let mut nodes = self.nodes[..most - 1].to_vec();
        nodes.push(Node {
            others: self.nodes.len() - nodes.len(),
            place: "-".to_owned(),
            ..Node::default()
        });
        let mut short = Self {
            nodes,
            links: Vec::new(),
        };
        let mut places: HashMap<(usize, usize), usize> = HashMap::new();
        for link in &self.links {
            let ends = (link.client.min(most - 1), link.server.min(most - 1));
            let at = *places.entry(ends).or_insert_with(|| {
                short.links.push(Link {
                    client: ends.0,
                    server: ends.1,
                    ..Link::default()
                });
                short.links.len() - 1
            });
            short.links[at].merge(link);
        }
        short.finish(seconds);
        short
    }

    /// Computes rates and words, and puts the most traffic first.
    fn finish(&mut self, seconds: f64) {
        let seconds = seconds.max(0.001);
        for link in &mut self.links {
            link.finish(seconds);
        }
        let busiest = |one: &Link, other: &Link| {
            let connections = other.connections.cmp(&one.connections);
            other
                .bytes_per_s
                .total_cmp(&one.bytes_per_s)
                .then(connections)
        };
        self.links.sort_by(busiest);
        for node in &mut self.nodes {
            node.bytes_per_s = 0.0;
        }
        for link in &self.links {
            self.nodes[link.client].bytes_per_s += link.bytes_per_s;
            if link.client != link.server {
                self.nodes[link.server].bytes_per_s += link.bytes_per_s;
            }
        }
        self.reorder();
    }

    /// Sorts the nodes, and has links name their new places.
    fn reorder(&mut self) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by(|one, other| {
            let [one, other] = [one, other].map(|at| &self.nodes[*at]);
            let names = |node: &Node| (node.process.clone(), node.cgroup.clone());
            let few = one.others.cmp(&other.others);
            few.then(other.bytes_per_s.total_cmp(&one.bytes_per_s))
                .then_with(|| names(one).cmp(&names(other)))
        });
        let mut places = vec![0; order.len()];
        for (to, from) in order.iter().enumerate() {
            places[*from] = to;
        }
        self.nodes = order.iter().map(|from| self.nodes[*from].clone()).collect();
        for link in &mut self.links {
            (link.client, link.server) = (places[link.client], places[link.server]);
        }
    }
}

impl Node {
    fn join(&mut self, side: &Side) {
        if self.pids.len() < LISTED {
            self.pids.extend(side.end.pid);
        }
    }

    /// Its name for people, as `nginx ×4`.
    #[must_use]
    pub fn title(&self) -> String {
        match (self.others, &self.process) {
            (0, None) => "no process".to_owned(),
            (0, Some(process)) => {
                let name = escape(process.as_bytes());
                match self.pids.len() {
                    0 | 1 => name,
                    LISTED => format!("{name} ×{LISTED}+"),
                    count => format!("{name} ×{count}"),
                }
            }
            (count, _) => format!("{count} others"),
        }
    }
}

impl Link {
    fn join(&mut self, pair: &Pair) {
        self.connections += 1;
        if self.ports.len() < LISTED {
            self.ports.insert(pair.server.end.port);
        }
        self.sums.sent += pair.sent;
        self.sums.fast += usize::from(pair.path == "fast");
        self.sums.mixed += usize::from(pair.path == "mixed");
        if pair.reason != "none" {
            let sum = self.sums.reasons.entry(pair.reason).or_default();
            let bytes = sum.0.saturating_add(pair.sent.stack_bytes);
            *sum = (bytes, sum.1 + 1, pair.why_not);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        let room = LISTED.saturating_sub(self.ports.len());
        self.ports.extend(other.ports.iter().take(room));
        self.sums.sent += other.sums.sent;
        self.sums.fast += other.sums.fast;
        self.sums.mixed += other.sums.mixed;
        for (reason, (bytes, count, words)) in &other.sums.reasons {
            let sum = self.sums.reasons.entry(reason).or_default();
            *sum = (sum.0.saturating_add(*bytes), sum.1 + count, words);
        }
    }

    fn finish(&mut self, seconds: f64) {
        let sent = self.sums.sent;
        self.bytes_per_s = tenths(float(sent.bytes()) / seconds);
        self.messages_per_s = tenths(float(sent.messages()) / seconds);
        self.fast_share = sent.share();
        self.path = match (sent.share(), self.sums.fast, self.sums.mixed) {
            (Some(share), ..) if share >= MOSTLY => "fast",
            (Some(share), ..) if share <= 1.0 - MOSTLY => "stack",
            (None, fast, _) if fast == self.connections => "fast",
            (None, 0, 0) => "stack",
            _ => "mixed",
        };
        let reasons = self.sums.reasons.iter();
        let most = reasons.max_by_key(|(_, (bytes, count, _))| (*bytes, *count));
        (self.reason, self.why_not) = match (self.path, most) {
            ("fast", _) | (_, None) => ("none", ""),
            (_, Some((reason, (.., words)))) => (*reason, *words),
        };
    }
}

#[cfg(test)]
mod tests;
