//! The knowledge of running agents, joined into the rows.

use std::collections::{HashMap, hash_map::Entry};

use socketvirt_common::record::{row::Row, status::Status, stream::Joined};

use super::{
    TableError,
    joiner::{self, Joiner},
    keeper,
    source::{Namespaces, Scan},
};
use crate::host::bpffs::PinDir;

/// The agents that were joined.
#[derive(Default)]
pub struct Known {
    /// The agents.
    pub names: Vec<String>,
    /// Agents of other builds, whose records mean something else.
    pub others: Vec<String>,
    /// Sockets that found no room in their maps.
    pub missing: u64,
}

/// Readers of what the agents of this host know. Each has programs that the kernel has to
/// verify, so whoever looks again keeps them.
#[derive(Default)]
pub struct Agents {
    joiners: HashMap<String, Joiner>,
}

impl Agents {
    /// Joins what they know. An agent that ends meanwhile adds nothing, which is as if it
    /// had ended before.
    pub fn join(&mut self, scan: &mut Scan, which: &Namespaces) -> Known {
        let mut known = Known::default();
        let mut pins = PinDir::existing().unwrap_or_default();
        // An unfinished one has no flows yet, or shares those of the one in its place.
        pins.retain(|pins| pins.is_complete() && pins.path().join("sv_flow").exists());
        let live = |name: &String| pins.iter().any(|pins| pins.name() == name);
        self.joiners.retain(|name, _| live(name));
        for pins in &pins {
            match self.read(pins, which) {
                Ok(joined) => {
                    joiner::apply(&mut scan.rows, joined);
                    known.names.push(pins.name().to_owned());
                }
                Err(TableError::OtherBuild(_)) if pins.owner_alive() => {
                    known.others.push(pins.name().to_owned());
                }
                Err(_) => {}
            }
        }
        table(&mut known, scan);
        known
    }

    fn read(&mut self, pins: &PinDir, which: &Namespaces) -> Result<Vec<Joined>, TableError> {
        let joiner = match self.joiners.entry(pins.name().to_owned()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(new) => new.insert(Joiner::open(pins.path())?),
        };
        joiner.read(which)
    }
}

/// Joins what a kept table knows.
fn table(known: &mut Known, scan: &mut Scan) {
    match keeper::kept().map(|folder| keeper::Maps::open(&folder)) {
        Some(Ok(mut maps)) => {
            known.missing = maps.stats().map_or(0, |stats| stats.missing);
            known.names.push("run".to_owned());
            lives(scan, maps.rows());
        }
        Some(Err(TableError::OtherBuild(_))) => known.others.push("run".to_owned()),
        Some(Err(_)) | None => {}
    }
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
            row.trace.handshake.client_seq,
            row.trace.handshake.server_seq,
        ) == (0, 0)
        {
            row.trace.handshake = life.trace.handshake;
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
