//! Holders of a socket beside its reader: other processes that have inherited its
//! file, or were sent it.

use std::collections::{BTreeMap, HashSet};

use aya::maps::MapError;
use socketvirt_common::{
    reason::Reason,
    record::reader::{Holding, Process},
};

use super::{files, readers::Readers};

/// The holders of one socket.
#[derive(Debug, Default)]
pub struct Holders {
    /// Descriptors of it.
    descriptors: u32,
    /// References to its file when it was asked for.
    references: u32,
    processes: HashSet<u64>,
}

/// Sorts what a walk has found by the end that is held.
#[must_use]
pub fn by_end(found: &[Holding]) -> BTreeMap<u32, Holders> {
    let mut ends: BTreeMap<u32, Holders> = BTreeMap::new();
    for holding in found {
        let holders = ends.entry(holding.end).or_default();
        holders.descriptors += 1;
        holders.references = holding.references;
        holders.processes.insert(holding.holder);
    }
    ends
}

impl Holders {
    /// Up to how many references all holders are known, and why they keep the
    /// socket on the stack. None while one of them loads.
    ///
    /// # Errors
    /// When the map of processes cannot be read.
    pub fn verdict(&self, readers: &Readers) -> Result<Option<(u32, Reason)>, MapError> {
        let (mut threads, mut splices) = (0, false);
        for &name in &self.processes {
            let Some(process) = readers.get(name)? else {
                // It has ended, and holds nothing any more.
                continue;
            };
            match process.reason {
                Reason::None => {}
                Reason::NotInspected => return Ok(None),
                reason => return Ok(Some((self.references, reason))),
            }
            threads += calls_of(&process);
            splices |= process.splices != 0;
        }
        let known = self.descriptors + threads;
        Ok(Some(if known >= self.references && splices {
            // Unless somebody vouches that they do not, so nothing else speaks against
            // them.
            (known, Reason::MaySplice)
        } else if known >= self.references {
            (known, Reason::None)
        } else {
            // The rest is on its way to somebody, or with a process that the
            // agent does not see.
            (self.references, Reason::Unseen)
        }))
    }
}

/// References that calls of a process can take for a moment: one for each of its
/// threads, and none in a process with a single one (`fdget`, fs/file.c).
fn calls_of(process: &Process) -> u32 {
    match files::threads(process.pid) {
        0 | 1 => 0,
        threads => threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_an_end_are_counted_together() {
        let holding = |holder, end| Holding {
            holder,
            end,
            references: 3,
        };
        let ends = by_end(&[holding(1, 4), holding(1, 4), holding(2, 4), holding(1, 5)]);
        let of = |end| &ends[&end];
        assert_eq!((of(4).descriptors, of(4).processes.len()), (3, 2));
        assert_eq!((of(5).descriptors, of(5).references), (1, 3));
    }
}
