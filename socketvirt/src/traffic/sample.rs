//! Rates for tests.

use std::time::Duration;

use super::{
    rates::{Rates, between},
    snapshot::Snapshot,
    testing::{connection, listener, path, table},
};
use crate::table::view::Socket;

/// The rates of these rows, all of whose bytes were sent within a second.
fn rates_of_rows(rows: Vec<Socket>) -> Rates {
    let rows = [listener(u64::MAX, 80)].into_iter().chain(rows).collect();
    let after = Snapshot::of(&table(rows), Duration::from_secs(1));
    let before = Snapshot {
        agents: after.agents.clone(),
        ..Snapshot::default()
    };
    between(&before, &after)
}

/// Both rows of a pair.
fn pair(number: u64, bytes: u64) -> [Socket; 2] {
    let id = 2 * number + 1;
    let mut rows = [
        connection(id, 40_000, Some(id + 1)),
        connection(id + 1, 80, Some(id)),
    ];
    rows[0].owner.command = Some(format!("client-{number}"));
    rows[1].owner.command = Some("server".to_owned());
    for row in &mut rows {
        path(row).stack_bytes = bytes;
    }
    rows
}

/// Rates of so many pairs, of which each next one carries less.
pub fn rates(pairs: u64) -> Rates {
    let rows = (0..pairs).flat_map(|number| pair(number, 10 * (pairs - number)));
    rates_of_rows(rows.collect())
}

/// Rates of one pair, whose rows are changed.
pub fn rates_of(change: impl Fn(&mut [Socket])) -> Rates {
    let mut rows = pair(0, 0);
    change(&mut rows);
    rates_of_rows(rows.to_vec())
}
