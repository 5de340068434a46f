//! One agent's knowledge of sockets: read from its maps, and put into rows.

use std::{collections::HashMap, path::Path, thread};

use aya::{Btf, Ebpf};
use socketvirt_common::record::{row::Row, stream::Joined};

use super::{
    TableError,
    iterator::{Record, SocketIter, records},
    source::{self, Namespaces},
};
use crate::bpf::error::BpfError;

/// A reader of one agent's knowledge of sockets.
pub struct Joiner {
    // Maps and programs go with it.
    _ebpf: Ebpf,
    iterator: SocketIter,
}

impl Joiner {
    /// Of the agent whose objects are pinned in `folder`.
    ///
    /// # Errors
    /// When the kernel refuses, or the agent is gone, or of another build.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        TableError::unless_ours(folder)?;
        let btf = Btf::from_sys_fs().map_err(BpfError::from)?;
        let mut ebpf = source::load(&btf, Some(folder), None)?;
        let iterator = source::iterator(&mut ebpf, "sv_table_join", "tcp", &btf)?;
        Ok(Self {
            _ebpf: ebpf,
            iterator,
        })
    }

    /// Reads its knowledge of the sockets of these namespaces.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn read(&self, which: &Namespaces) -> Result<Vec<Joined>, TableError> {
        let (namespaces, _) = source::chosen(which)?;
        let mut output = Vec::new();
        thread::scope(|scope| {
            scope
                .spawn(|| -> Result<(), TableError> {
                    for namespace in &namespaces {
                        namespace.enter()?;
                        source::run(&self.iterator, &mut output)?;
                    }
                    Ok(())
                })
                .join()
                .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
        })?;
        Ok(records(&output)
            .filter_map(|record| match record {
                Record::Joined(joined) => Some(joined),
                _ => None,
            })
            .collect())
    }
}

/// Puts what an agent knows into the rows.
pub fn apply(rows: &mut [Row], joined: Vec<Joined>) {
    let joined: HashMap<u64, Joined> = joined.into_iter().map(|one| (one.id, one)).collect();
    for row in rows {
        if let Some(one) = joined.get(&row.id) {
            if one.peer != 0 {
                row.remote.id = one.peer;
            }
            row.trace.handshake = one.handshake;
            row.send.path = one.path;
            row.send.reason = one.reason;
            row.send.enrolment = one.enrolment;
            row.send.traffic = one.traffic;
        }
    }
}
