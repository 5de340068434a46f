//! Programs that have begun in a cgroup since the agent looked there: the maps
//! `sv_begun`, `sv_looked` and `sv_wake`.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{HashMap, MapData, MapError, RingBuf};
use socketvirt_common::rule::looked;

/// What the kernel side counts, and how far the agent has come.
pub struct Begun {
    counted: HashMap<MapData, u64, u64>,
    looked: HashMap<MapData, u64, u64>,
    wake: RingBuf<MapData>,
}

/// A cgroup in which a program was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlooked {
    /// Its id; [`looked::ANY`] when it can be any.
    pub cgroup: u64,
    /// The count that a complete look after this one comes up to.
    pub begun: u64,
}

impl Begun {
    /// Makes the entry that all cgroups share for which there is no room.
    pub(crate) fn new(
        mut counted: HashMap<MapData, u64, u64>,
        looked: HashMap<MapData, u64, u64>,
        wake: RingBuf<MapData>,
    ) -> Result<Self, MapError> {
        counted.insert(looked::ANY, 0, 0)?;
        Ok(Self {
            counted,
            looked,
            wake,
        })
    }

    /// Takes notice of what woke the agent, and gives the cgroups to look at.
    pub fn unlooked(&mut self) -> Vec<Unlooked> {
        while self.wake.next().is_some() {}
        self.counted
            .iter()
            .filter_map(Result::ok)
            .filter(|(cgroup, begun)| !looked::all(Some(*begun), self.looked.get(cgroup, 0).ok()))
            .map(|(cgroup, begun)| Unlooked { cgroup, begun })
            .collect()
    }

    /// All programs that had begun then have been looked at.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn looked_at(&mut self, at: Unlooked) -> Result<(), MapError> {
        self.looked.insert(at.cgroup, at.begun, 0)
    }

    /// The cgroup is gone: its id does not come back.
    pub fn forget(&mut self, cgroup: u64) {
        // Either may be missing, and one that stays costs a little room.
        let _ = self.counted.remove(&cgroup);
        let _ = self.looked.remove(&cgroup);
    }
}

impl AsFd for Begun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
