//! What running agents know of sockets, joined into the rows.

use std::collections::HashMap;

use socketvirt_common::{
    record::{row::Row, stream::Joined},
    rule::status::Status,
};

use super::{
    TableError, keeper,
    source::{Joiner, Namespaces, Scan},
};
use crate::host::bpffs::PinDir;

/// What was joined.
#[derive(Default)]
pub struct Known {
    /// The agents.
    pub names: Vec<String>,
    /// Agents of other builds, whose records mean something else.
    pub others: Vec<String>,
    /// Sockets that found no room in their maps.
    pub missing: u64,
}

/// Joins what the agents of this host know. An agent that ends meanwhile adds
/// nothing, which is as if it had ended before.
pub fn join(scan: &mut Scan, which: &Namespaces) -> Known {
    let mut known = Known::default();
    for pins in PinDir::existing().unwrap_or_default() {
        let folder = pins.path();
        // An unfinished one has no flows yet.
        if !folder.join("sv_flow").exists() {
            continue;
        }
        match Joiner::open(folder).and_then(|joiner| joiner.read(which)) {
            Ok(joined) => {
                apply(&mut scan.rows, joined);
                known.names.push(pins.name().to_owned());
            }
            Err(TableError::OtherBuild(_)) if pins.owner_alive() => {
                known.others.push(pins.name().to_owned());
            }
            Err(_) => {}
        }
    }
    match keeper::kept().map(|folder| keeper::Maps::open(&folder)) {
        Some(Ok(mut maps)) => {
            known.missing = maps.stats().map_or(0, |stats| stats.missing);
            known.names.push("run".to_owned());
            lives(scan, maps.rows());
        }
        Some(Err(TableError::OtherBuild(_))) => known.others.push("run".to_owned()),
        Some(Err(_)) | None => {}
    }
    known
}

/// Adds the lives of sockets that a table is kept of, and those that are over.
fn lives(scan: &mut Scan, kept: Vec<Row>) {
    let mut kept: HashMap<u64, Row> = kept.into_iter().map(|row| (row.id, row)).collect();
    for row in &mut scan.rows {
        let Some(life) = kept.remove(&row.id) else {
            continue;
        };
        row.history = life.history;
        if (
            row.witness.handshake.client_seq,
            row.witness.handshake.server_seq,
        ) == (0, 0)
        {
            row.witness.handshake = life.witness.handshake;
        }
        if row.owner.pid == 0 {
            row.owner.pid = life.owner.pid;
            row.owner.command = life.owner.command;
        }
    }
    let over = kept
        .into_values()
        .filter(|row| row.status == Status::TERMINATED);
    let over = over.filter(|row| scan.wanted.contains(&row.local.netns) || row.local.netns == 0);
    scan.rows.extend(over);
}

/// Puts what an agent knows into the rows.
pub fn apply(rows: &mut [Row], joined: Vec<Joined>) {
    let joined: HashMap<u64, Joined> = joined.into_iter().map(|one| (one.id, one)).collect();
    for row in rows {
        if let Some(one) = joined.get(&row.id) {
            if one.peer != 0 {
                row.remote.id = one.peer;
            }
            row.witness.handshake = one.handshake;
            row.send.path = one.path;
            row.send.reason = one.reason;
            row.send.enrolment = one.enrolment;
            row.send.traffic = one.traffic;
        }
    }
}
