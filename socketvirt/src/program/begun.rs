//! Programs that have begun in a cgroup since the agent inspected those
//! there: the maps `sv_begun`, `sv_inspected` and `sv_wake`.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{HashMap, MapData, MapError, RingBuf};
use socketvirt_common::rule::inspected;

/// The counts of the kernel side, and how far the agent has come.
pub struct Begun {
    counted: HashMap<MapData, u64, u64>,
    inspected: HashMap<MapData, u64, u64>,
    wake: RingBuf<MapData>,
}

/// A cgroup in which a program was not inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uninspected {
    /// Its id; [`inspected::ANY`] when it can be any.
    pub cgroup: u64,
    /// The count that a complete inspection after this one comes up to.
    pub begun: u64,
}

impl Begun {
    /// Makes the entry that all cgroups share for which there is no room.
    pub(crate) fn new(
        mut counted: HashMap<MapData, u64, u64>,
        inspected: HashMap<MapData, u64, u64>,
        wake: RingBuf<MapData>,
    ) -> Result<Self, MapError> {
        // Of a data path that is taken over, it is there and has counted.
        if counted.get(&inspected::ANY, 0).is_err() {
            counted.insert(inspected::ANY, 0, 0)?;
        }
        Ok(Self {
            counted,
            inspected,
            wake,
        })
    }

    /// Takes notice of what woke the agent, and gives the cgroups to inspect.
    pub fn uninspected(&mut self) -> Vec<Uninspected> {
        while self.wake.next().is_some() {}
        self.counted
            .iter()
            .filter_map(Result::ok)
            .filter(|(cgroup, begun)| {
                !inspected::all(Some(*begun), self.inspected.get(cgroup, 0).ok())
            })
            .map(|(cgroup, begun)| Uninspected { cgroup, begun })
            .collect()
    }

    /// All programs that had begun then have been inspected.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn inspected(&mut self, at: Uninspected) -> Result<(), MapError> {
        self.inspected.insert(at.cgroup, at.begun, 0)
    }

    /// The cgroup is gone: its id does not come back.
    pub fn forget(&mut self, cgroup: u64) {
        // Either may be missing, and one that stays costs a little room.
        let _ = self.counted.remove(&cgroup);
        let _ = self.inspected.remove(&cgroup);
    }
}

impl AsFd for Begun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
