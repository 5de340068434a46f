//! What running agents know of sockets, joined into the rows.

use std::collections::HashMap;

use socketvirt_common::record::Joined;

use super::source::{self, Namespaces, Scan};
use crate::kernel::bpffs::PinDir;

/// What was joined.
#[derive(Default)]
pub struct Known {
    /// The agents.
    pub names: Vec<String>,
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
        let Ok(joined) = source::joined(folder, which) else {
            continue;
        };
        apply(scan, joined);
        known.names.push(pins.name().to_owned());
    }
    known
}

fn apply(scan: &mut Scan, joined: Vec<Joined>) {
    let joined: HashMap<u64, Joined> = joined.into_iter().map(|one| (one.id, one)).collect();
    for row in &mut scan.rows {
        if let Some(one) = joined.get(&row.id) {
            row.remote.id = one.peer;
            row.witness.handshake = one.handshake;
            row.send.path = one.path;
            row.send.reason = one.reason;
            row.send.enrolment = one.enrolment;
            row.send.traffic = one.traffic;
        }
    }
}
