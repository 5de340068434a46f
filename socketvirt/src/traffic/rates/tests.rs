#![expect(clippy::float_cmp, reason = "rates are rounded to tenths")]

use std::time::Duration;

use super::{
    super::testing::{connection, listener, path, table},
    *,
};
use crate::table::view::Socket;

/// A pair of rows on the fast path that have sent so much.
fn pair(client: u64, server: u64, fast: u64, stack: u64) -> [Socket; 2] {
    let mut rows = [
        connection(client, 40_000, Some(server)),
        connection(server, 80, Some(client)),
    ];
    for row in &mut rows {
        let path = path(row);
        path.path = "fast";
        (path.fast_bytes, path.fast_messages) = (fast, fast / 10);
        (path.stack_bytes, path.stack_messages) = (stack, stack / 10);
    }
    rows
}

fn snapshot(second: u64, rows: impl IntoIterator<Item = Socket>) -> Snapshot {
    let rows = [listener(99, 80)].into_iter().chain(rows).collect();
    Snapshot::of(&table(rows), Duration::from_secs(second))
}

#[test]
fn a_rate_is_what_was_sent_since_by_the_time_since() {
    let rates = between(
        &snapshot(10, pair(1, 2, 1000, 500)),
        &snapshot(12, pair(1, 2, 4000, 1500)),
    );
    let [one] = &rates.pairs[..] else {
        panic!("{rates:?}")
    };
    assert_eq!((one.client.end.id, one.server.end.id), (1, 2));
    assert_eq!((one.bytes_per_s, one.client.bytes_per_s), (4000.0, 2000.0));
    assert_eq!((one.round_trips_per_s, one.fast_share), (200.0, Some(0.75)));
    assert_eq!((rates.totals.pairs, rates.totals.fast_pairs), (1, 1));
    assert_eq!(rates.totals.bytes_per_s, 4000.0);
}

#[test]
fn a_pair_that_is_new_counts_as_a_whole_and_one_that_ended_not_at_all() {
    let rates = between(
        &snapshot(0, pair(1, 2, 1000, 0)),
        &snapshot(1, pair(3, 4, 70, 0)),
    );
    let ids: Vec<u64> = rates.pairs.iter().map(|pair| pair.client.end.id).collect();
    assert_eq!((ids, rates.totals.bytes_per_s), (vec![3], 140.0));
}

#[test]
fn a_pair_of_which_one_end_has_ended_is_no_pair_and_not_elsewhere() {
    let [client, mut server] = pair(1, 2, 1000, 0);
    server.status = "TERMINATED";
    let rates = between(
        &snapshot(0, pair(1, 2, 1000, 0)),
        &snapshot(1, [client, server]),
    );
    assert_eq!((rates.pairs.len(), rates.elsewhere.connections), (0, 0));
}

#[test]
fn counters_that_begin_anew_count_from_zero() {
    let rates = between(
        &snapshot(0, pair(1, 2, 1_000_000, 0)),
        &snapshot(1, pair(1, 2, 300, 0)),
    );
    assert_eq!(rates.totals.bytes_per_s, 600.0);
}

#[test]
fn an_agent_that_comes_or_goes_makes_no_leap() {
    let mut without = snapshot(0, pair(1, 2, 0, 500));
    without.agents.clear();
    let with = snapshot(1, pair(1, 2, 1 << 40, 600));
    assert_eq!(between(&without, &with).totals.bytes_per_s, 200.0);
    without.at = Duration::from_secs(2);
    assert_eq!(between(&with, &without).totals.bytes_per_s, 0.0);
}

#[test]
fn two_looks_in_one_moment_divide_by_no_zero() {
    let (before, after) = (
        snapshot(5, pair(1, 2, 0, 0)),
        snapshot(5, pair(1, 2, 10, 0)),
    );
    assert!(between(&before, &after).totals.bytes_per_s.is_finite());
    // Nor does a clock that goes back.
    let rates = between(&after, &snapshot(4, pair(1, 2, 20, 0)));
    assert!(rates.totals.bytes_per_s.is_finite());
}

#[test]
fn an_end_without_a_peer_is_elsewhere() {
    let mut away = connection(7, 443, None);
    path(&mut away).stack_bytes = 100;
    let rates = between(&snapshot(0, []), &snapshot(1, [away]));
    assert_eq!((rates.pairs.len(), rates.elsewhere.connections), (0, 1));
    assert_eq!(rates.elsewhere.bytes_per_s, 100.0);
}

#[test]
fn rows_that_contradict_each_other_make_no_pair_twice() {
    // 1 and 3 both say that 2 is their peer; 2 says 1. 4 is its own peer.
    let rows = [
        connection(1, 40_000, Some(2)),
        connection(2, 80, Some(1)),
        connection(3, 40_000, Some(2)),
        connection(4, 5, Some(4)),
    ];
    let rates = between(&snapshot(0, []), &snapshot(1, rows));
    assert_eq!(rates.pairs.len(), 1);
}

/// Three pairs of which each is first by another order.
fn several() -> Rates {
    let mut rows = Vec::new();
    for (id, bytes, messages, stack, name) in [
        (1, 9000, 10, 10, "b"),
        (3, 100, 900, 20, "c"),
        (5, 10, 20, 90, "a"),
    ] {
        for mut row in pair(id, id + 1, bytes, stack) {
            path(&mut row).fast_messages = messages;
            row.owner.command = Some(name.to_owned());
            rows.push(row);
        }
    }
    between(&snapshot(0, []), &snapshot(1, rows))
}

#[test]
fn each_order_has_its_first() {
    let mut rates = several();
    let firsts = Order::ALL.map(|order| {
        rates.sort(order);
        rates.pairs[0].client.end.id
    });
    assert_eq!(firsts, [1, 3, 3, 5, 5]);
    assert_eq!(Order::Process.next(), Order::Bytes);
}

#[test]
fn a_filter_finds_words_of_both_ends_in_whatever_case() {
    for (text, found) in [
        ("", 3),
        (":80", 3),
        ("C(3)", 1),
        ("TEST.slice", 3),
        ("fast", 3),
        ("nowhere", 0),
    ] {
        let mut rates = several();
        rates.filter(text);
        assert_eq!(rates.pairs.len(), found, "{text}");
        assert_eq!(rates.totals.pairs, 3);
    }
}

#[test]
fn ten_thousand_pairs_are_cut_to_what_is_asked_for() {
    let rows = (0..10_000).flat_map(|pair_no| pair(2 * pair_no + 1, 2 * pair_no + 2, pair_no, 1));
    let mut rates = between(&snapshot(0, []), &snapshot(1, rows));
    assert_eq!(rates.totals.pairs, 10_000);
    rates.shorten(100);
    assert_eq!((rates.pairs.len(), rates.omitted), (100, 9_900));
    assert!(rates.pairs[0].bytes_per_s > rates.pairs[99].bytes_per_s);
    assert!(serde_json::to_string(&rates).unwrap().len() < 200_000);
}
