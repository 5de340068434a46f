//! A pair with its rates: what `top` shows in a line.

use serde::Serialize;
use socketvirt_common::reason::Reason;

use super::{
    counts::{Counts, float},
    place,
    snapshot::End,
    units::tenths,
};
use crate::table::names::escape;

/// A connection with both ends on this host.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The end that has connected.
    pub client: Side,
    /// The end that was connected to.
    pub server: Side,
    /// Bytes a second, both ways.
    pub bytes_per_s: f64,
    /// Messages a second, both ways.
    pub messages_per_s: f64,
    /// Round trips a second, at most: messages of the end that sends fewer.
    pub round_trips_per_s: f64,
    /// The share of the bytes that was redirected, from 0 to 1; none of no bytes.
    pub fast_share: Option<f64>,
    /// `fast`, `mixed` (one way only), `kept` (on the stack for good), `stack`.
    pub path: &'static str,
    /// The reason that it is not fast, of the end that is the cause.
    pub reason: &'static str,
    /// What it means.
    pub why_not: &'static str,
    /// What would change it.
    pub change: &'static str,
    /// What was sent, both ways.
    #[serde(skip)]
    pub sent: Counts,
}

/// One end of it.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The socket.
    #[serde(flatten)]
    pub end: End,
    /// The container, the unit or the cgroup in short.
    pub place: String,
    /// Bytes that it sends a second.
    pub bytes_per_s: f64,
    /// Messages that it sends a second.
    pub messages_per_s: f64,
}

impl Side {
    fn new(end: &End, sent: Counts, seconds: f64) -> Self {
        Self {
            end: end.clone(),
            place: place::short(end.cgroup.as_deref()),
            bytes_per_s: tenths(float(sent.bytes()) / seconds),
            messages_per_s: tenths(float(sent.messages()) / seconds),
        }
    }

    /// The process for a terminal, as `redis-server(4711)`.
    #[must_use]
    pub fn process(&self) -> String {
        match (&self.end.command, self.end.pid) {
            (Some(command), Some(pid)) => format!("{}({pid})", escape(command.as_bytes())),
            _ => "-".to_owned(),
        }
    }
}

impl Pair {
    /// Both ends, and what each has sent within so many seconds.
    #[must_use]
    pub fn new(client: (&End, Counts), server: (&End, Counts), seconds: f64) -> Self {
        let mut sent = client.1;
        sent += server.1;
        let turns = client.1.messages().min(server.1.messages());
        let cause = cause(client.0, server.0);
        Self {
            client: Side::new(client.0, client.1, seconds),
            server: Side::new(server.0, server.1, seconds),
            bytes_per_s: tenths(float(sent.bytes()) / seconds),
            messages_per_s: tenths(float(sent.messages()) / seconds),
            round_trips_per_s: tenths(float(turns) / seconds),
            fast_share: sent.share(),
            path: path(client.0.path, server.0.path),
            reason: cause.map_or("none", Reason::word),
            why_not: cause.map_or("", Reason::about),
            change: cause.map_or("", Reason::change),
            sent,
        }
    }
}

impl Pair {
    /// True when a word of it, in whatever case, has this text in it, which is in small
    /// letters.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let mut words = [&self.client, &self.server].into_iter().flat_map(|side| {
            [
                side.process(),
                side.end.address.clone(),
                side.place.clone(),
                side.end.cgroup.clone().unwrap_or_default(),
            ]
        });
        let own = [self.path, self.reason];
        own.iter().any(|word| word.contains(text))
            || words.any(|word| word.to_lowercase().contains(text))
    }
}

/// The path of both directions.
fn path(one: &str, other: &str) -> &'static str {
    match (one, other) {
        ("fast", "fast") => "fast",
        ("fast", _) | (_, "fast") => "mixed",
        ("kept", _) | (_, "kept") => "kept",
        _ => "stack",
    }
}

/// The reason of the end for which both are not fast.
fn cause(client: &End, server: &End) -> Option<Reason> {
    if (client.path, server.path) == ("fast", "fast") {
        return None;
    }
    let reasons = [client, server]
        .map(|end| Reason::named(end.reason).filter(|reason| *reason != Reason::None));
    let known = || reasons.iter().copied().flatten();
    // One that only points at the other end comes last.
    let own = known().find(|reason| *reason != Reason::PeerNotEnrolled);
    own.or_else(|| known().next())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rates are rounded to tenths")]
mod tests {
    use std::time::Duration;

    use super::{
        super::{
            snapshot::Snapshot,
            testing::{connection, path as of, table},
        },
        *,
    };

    /// A pair of which each end has this path and reason.
    fn pair(client: (&'static str, &'static str), server: (&'static str, &'static str)) -> Pair {
        let mut ends = [connection(1, 5000, Some(2)), connection(2, 80, Some(1))];
        for (end, (path, reason)) in ends.iter_mut().zip([client, server]) {
            (of(end).path, of(end).reason) = (path, reason);
        }
        let snapshot = Snapshot::of(&table(ends.to_vec()), Duration::ZERO);
        let sent = |messages| Counts {
            fast_bytes: 300,
            stack_bytes: 100,
            fast_messages: messages,
            ..Counts::default()
        };
        let [client, server] = [1, 2].map(|id| &snapshot.ends[&id]);
        Pair::new((client, sent(8)), (server, sent(6)), 2.0)
    }

    #[test]
    fn rates_are_a_second_and_round_trips_those_of_the_quieter_end() {
        let pair = pair(("fast", "none"), ("fast", "none"));
        assert_eq!(
            [
                pair.bytes_per_s,
                pair.messages_per_s,
                pair.round_trips_per_s
            ],
            [400.0, 7.0, 3.0]
        );
        assert_eq!(pair.client.bytes_per_s, 200.0);
        assert_eq!(pair.fast_share, Some(0.75));
        assert_eq!(pair.client.process(), "program-5000(1)");
    }

    #[test]
    fn the_reason_is_that_of_the_end_that_is_the_cause() {
        let words = |client, server| {
            let pair = pair(client, server);
            (pair.path, pair.reason)
        };
        assert_eq!(words(("fast", "none"), ("fast", "none")), ("fast", "none"));
        assert_eq!(
            words(("fast", "none"), ("stack", "queue_full")),
            ("mixed", "queue_full")
        );
        assert_eq!(
            words(("stack", "peer_not_enrolled"), ("kept", "urgent")),
            ("kept", "urgent")
        );
        assert_eq!(
            words(("stack", "peer_not_enrolled"), ("stack", "none")),
            ("stack", "peer_not_enrolled")
        );
        assert_eq!(
            words(("stack", "none"), ("stack", "none")),
            ("stack", "none")
        );
    }

    #[test]
    fn a_reason_comes_with_its_words() {
        let pair = pair(("stack", "blocking"), ("stack", "peer_not_enrolled"));
        assert_eq!(pair.why_not, Reason::Blocking.about());
        assert_eq!(pair.change, Reason::Blocking.change());
    }
}
