#![expect(clippy::float_cmp, reason = "rates are rounded to tenths")]

use std::time::Duration;

use super::{
    super::{
        rates::between,
        snapshot::Snapshot,
        testing::{connection, listener, path, table},
    },
    *,
};
use crate::table::view::Socket;

/// Both rows of a connection between two programs, each with the name and the cgroup.
fn pair(id: u64, client: (&str, &str), server: (&str, &str), bytes: (u64, u64)) -> [Socket; 2] {
    let mut rows = [
        connection(id, 40_000, Some(id + 1)),
        connection(id + 1, 80, Some(id)),
    ];
    for (row, (command, cgroup)) in rows.iter_mut().zip([client, server]) {
        row.owner.command = Some(command.to_owned());
        row.owner.cgroup = Some(cgroup.to_owned());
        (path(row).fast_bytes, path(row).stack_bytes) = bytes;
    }
    rows
}

fn groups(rows: impl IntoIterator<Item = Socket>) -> Groups {
    let rows = [listener(9_999_999, 80)].into_iter().chain(rows).collect();
    let after = Snapshot::of(&table(rows), Duration::from_secs(1));
    let before = Snapshot {
        agents: after.agents.clone(),
        ..Snapshot::default()
    };
    of(&between(&before, &after))
}

#[test]
fn pairs_of_the_same_programs_in_the_same_cgroups_are_one_link() {
    let (wrk, nginx) = (("wrk", "/a"), ("nginx", "/b"));
    let all = groups(
        [
            pair(1, wrk, nginx, (50, 50)),
            pair(3, wrk, nginx, (150, 0)),
            pair(5, wrk, ("nginx", "/c"), (1, 0)),
        ]
        .concat(),
    );
    let names: Vec<_> = all
        .nodes
        .iter()
        .map(|node| (node.title(), node.place.clone(), node.bytes_per_s))
        .collect();
    let name = |title: &str, place: &str, rate| (title.to_owned(), place.to_owned(), rate);
    assert_eq!(
        names,
        [
            name("wrk ×3", "a", 502.0),
            name("nginx ×2", "b", 500.0),
            name("nginx", "c", 2.0)
        ]
    );
    let [busy, other] = &all.links[..] else {
        panic!("{all:?}")
    };
    assert_eq!((busy.client, busy.server, busy.connections), (0, 1, 2));
    assert_eq!((busy.path, busy.fast_share), ("mixed", Some(0.8)));
    assert_eq!((other.server, other.path), (2, "fast"));
    assert!(busy.ports.contains(&80));
}

#[test]
fn a_link_is_called_by_the_path_of_nearly_all_its_bytes() {
    for (bytes, word) in [
        ((96, 4), "fast"),
        ((4, 96), "stack"),
        ((94, 6), "mixed"),
        ((0, 0), "stack"),
    ] {
        let all = groups(pair(1, ("a", "/"), ("b", "/"), bytes));
        assert_eq!(all.links[0].path, word, "{bytes:?}");
    }
    let mut idle = pair(1, ("a", "/"), ("b", "/"), (0, 0));
    for row in &mut idle {
        path(row).path = "fast";
    }
    assert_eq!(groups(idle).links[0].path, "fast");
}

#[test]
fn the_reason_of_a_link_is_that_of_the_most_bytes() {
    let mut rows = [
        pair(1, ("a", "/"), ("b", "/"), (0, 10)),
        pair(3, ("a", "/"), ("b", "/"), (0, 900)),
    ]
    .concat();
    for (row, reason) in rows.iter_mut().zip(["blocking", "none", "bulk", "none"]) {
        path(row).reason = reason;
    }
    let all = groups(rows);
    assert_eq!(all.links[0].reason, "bulk");
    assert!(all.links[0].why_not.starts_with("Large"));
}

#[test]
fn a_program_that_talks_to_itself_counts_once() {
    let all = groups(pair(1, ("a", "/"), ("a", "/"), (100, 0)));
    assert_eq!((all.nodes.len(), all.links.len()), (1, 1));
    assert_eq!(all.nodes[0].bytes_per_s, 200.0);
}

/// So many programs that each talk to the same one.
fn many(count: u64) -> Groups {
    let rows = (0..count).flat_map(|at| {
        let name = format!("client-{at}");
        pair(2 * at + 1, (&name, "/"), ("hub", "/"), (at + 1, 0))
    });
    groups(rows)
}

#[test]
fn the_least_busy_of_too_many_become_others() {
    let all = many(99);
    assert_eq!(all.nodes.len(), 100);
    let short = all.at_most(30, 1.0);
    assert_eq!(short.nodes.len(), 30);
    let last = &short.nodes[29];
    assert_eq!((last.others, last.title()), (71, "71 others".to_owned()));
    assert_eq!(short.nodes[0].title(), "hub ×32+");
    // Nothing is lost.
    let sum = |groups: &Groups| -> (f64, usize) {
        let links = groups.links.iter();
        let bytes = links.clone().map(|link| link.bytes_per_s).sum();
        (bytes, links.map(|link| link.connections).sum())
    };
    assert_eq!(sum(&short), sum(&all));
    assert_eq!(all.at_most(100, 1.0).nodes.len(), 100);
    assert_eq!(all.at_most(0, 1.0).nodes.len(), 1);
}

#[test]
fn ten_thousand_pairs_are_grouped() {
    let all = many(10_000);
    assert_eq!(all.nodes.len(), 10_001);
    // The hub, 28 clients, and the others.
    assert_eq!(all.at_most(30, 1.0).links.len(), 29);
    // However many processes there are, a few are listed.
    assert_eq!(all.nodes[0].pids.len(), LISTED);
}
