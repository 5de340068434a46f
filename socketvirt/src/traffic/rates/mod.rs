//! Rates: the difference of two snapshots, pair by pair.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use serde::Serialize;

use super::{
    counts::{Counts, float},
    pairs::Pair,
    snapshot::{End, Snapshot},
    units::tenths,
};

/// The traffic between two snapshots.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rates {
    /// The time between them.
    pub over_seconds: f64,
    /// All pairs together.
    pub totals: Totals,
    /// Connections whose other end is not on this host.
    pub elsewhere: Elsewhere,
    /// Pairs that are not in the list, because it was to be short.
    pub omitted: usize,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// All pairs together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Pairs that live.
    pub pairs: usize,
    /// Pairs whose path is fast, both ways.
    pub fast_pairs: usize,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Messages a second.
    pub messages_per_s: f64,
    /// Round trips a second, at most.
    pub round_trips_per_s: f64,
    /// The share of the bytes that was redirected, from 0 to 1; none of no bytes.
    pub fast_share: Option<f64>,
}

/// Connections whose other end is not on this host.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Elsewhere {
    /// Connections.
    pub connections: usize,
    /// Bytes a second that this host sends them.
    pub bytes_per_s: f64,
}

/// The order of pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// By bytes a second, most first.
    #[default]
    Bytes,
    /// By messages a second, most first.
    Messages,
    /// By round trips a second, most first.
    Trips,
    /// By the bytes a second that the stack carries, most first.
    Stack,
    /// By the names of the processes.
    Process,
}

impl Order {
    /// All of them, each before the next.
    pub const ALL: [Self; 5] = [
        Self::Bytes,
        Self::Messages,
        Self::Trips,
        Self::Stack,
        Self::Process,
    ];

    /// The one after it, in a circle.
    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Messages => "messages",
            Self::Trips => "trips",
            Self::Stack => "stack",
            Self::Process => "process",
        }
    }

    fn compare(self, one: &Pair, other: &Pair) -> Ordering {
        let most = |of: fn(&Pair) -> f64| of(other).total_cmp(&of(one));
        let names = |pair: &Pair| {
            let [client, server] = [&pair.client, &pair.server];
            (server.end.command.clone(), client.end.command.clone())
        };
        let first = match self {
            Self::Bytes => most(|pair| pair.bytes_per_s),
            Self::Messages => most(|pair| pair.messages_per_s),
            Self::Trips => most(|pair| pair.round_trips_per_s),
            Self::Stack => other.sent.stack_bytes.cmp(&one.sent.stack_bytes),
            Self::Process => names(one).cmp(&names(other)),
        };
        // Lines of the same traffic stay where they are.
        first
            .then(most(|pair| pair.bytes_per_s))
            .then(one.client.end.id.cmp(&other.client.end.id))
    }
}

/// Compares two snapshots. An end that the first one does not have has begun since, and
/// counts as a whole; one that the second one does not have has ended.
#[must_use]
pub fn between(before: &Snapshot, after: &Snapshot) -> Rates {
    // Never 0: two looks may come in the same moment.
    let seconds = after.at.saturating_sub(before.at).as_secs_f64().max(0.001);
    let same_agents = before.agents == after.agents;
    let sent = |end: &End| match before.ends.get(&end.id) {
        None => end.counts,
        Some(then) if same_agents => end.counts.since(then.counts),
        Some(then) => end.counts.of_the_stack_since(then.counts),
    };
    let sent: HashMap<u64, Counts> = after.ends.values().map(|end| (end.id, sent(end))).collect();
    let of = |end: &End| sent.get(&end.id).copied().unwrap_or_default();
    let mut rates = Rates {
        over_seconds: seconds,
        ..Rates::default()
    };
    let (mut all, mut away) = (Counts::default(), Counts::default());
    let mut seen = HashSet::new();
    for end in after.ends.values() {
        let Some(peer) = other_end(after, end) else {
            // One with a peer is about to follow it.
            if end.peer.is_none() {
                rates.elsewhere.connections += 1;
                away += of(end);
            }
            continue;
        };
        if seen.insert((end.id.min(peer.id), end.id.max(peer.id))) {
            let (client, server) = after.in_order(end, peer);
            let pair = Pair::new((client, of(client)), (server, of(server)), seconds);
            all += pair.sent;
            rates.pairs.push(pair);
        }
    }
    rates.elsewhere.bytes_per_s = tenths(float(away.bytes()) / seconds);
    rates.totals = totals(&rates.pairs, all, seconds);
    rates.sort(Order::default());
    rates
}

/// The other end, where both agree: one may have been read before the other connected
/// again.
fn other_end<'a>(snapshot: &'a Snapshot, end: &End) -> Option<&'a End> {
    let peer = snapshot.ends.get(&end.peer?)?;
    let agrees = peer.peer.is_none_or(|back| back == end.id);
    (agrees && peer.id != end.id).then_some(peer)
}

fn totals(pairs: &[Pair], all: Counts, seconds: f64) -> Totals {
    let trips: f64 = pairs.iter().map(|pair| pair.round_trips_per_s).sum();
    Totals {
        pairs: pairs.len(),
        fast_pairs: pairs.iter().filter(|pair| pair.path == "fast").count(),
        bytes_per_s: tenths(float(all.bytes()) / seconds),
        messages_per_s: tenths(float(all.messages()) / seconds),
        round_trips_per_s: tenths(trips),
        fast_share: all.share(),
    }
}

impl Rates {
    /// Puts the pairs in order.
    pub fn sort(&mut self, order: Order) {
        self.pairs.sort_by(|one, other| order.compare(one, other));
    }

    /// Leaves the pairs of which a word, in whatever case, contains this text. The totals
    /// stay those of all.
    pub fn filter(&mut self, text: &str) {
        if !text.is_empty() {
            let text = text.to_lowercase();
            self.pairs.retain(|pair| pair.mentions(&text));
        }
    }

    /// Leaves so many pairs.
    pub fn shorten(&mut self, most: usize) {
        self.omitted = self.pairs.len().saturating_sub(most);
        self.pairs.truncate(most);
    }
}

#[cfg(test)]
mod tests;
