//! The home of a data path: the bpffs folder that its objects are pinned in, by
//! these names, and the cgroup that it is attached to.

use std::path::Path;

use aya::maps::MapData;
use socketvirt_common::record::pair::EndKey;

use crate::{
    bpf::sys,
    host::{
        bpffs::{PinDir, PinError},
        cgroup::{Cgroup, CgroupError},
        owner,
    },
};

/// The link that attaches the handshake program to a cgroup.
pub const SOCK_OPS_LINK: &str = "link_sock_ops";
/// The link that watches splice(2).
pub const SPLICE_LINK: &str = "link_splice";
/// The link that watches the flags of receive calls.
pub const RECEIVE_LINK: &str = "link_receive";
/// The link that watches programs begin.
pub const EXEC_LINK: &str = "link_exec";
/// The link that watches programs make an `io_uring`.
pub const RING_LINK: &str = "link_ring";
/// The link that watches processes come to another cgroup.
pub const MOVED_LINK: &str = "link_moved";
/// The iterator of visits: reading this file visits the sockets that wait.
pub const ACT_LINK: &str = "act";
/// The iterator of the walk at the start.
pub const DISCOVER_LINK: &str = "discover";
/// The iterator that finds who else holds a socket.
pub const HOLDERS_LINK: &str = "holders";
/// The program that looks at pairs.
pub const WATCH: &str = "watch";
/// Switches.
pub const CONFIG: &str = "sv_config";
/// The enrolled sockets.
pub const FAST: &str = "sv_fast";

/// A home could not be made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The pinned objects.
    #[error(transparent)]
    Pins(#[from] PinError),
}

/// The cgroup and the folder of pinned objects, taken away on drop.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) cgroup: Cgroup,
    pub(crate) pins: PinDir,
    taken: bool,
}

impl Home {
    /// Makes both, under a name that begins with `kind`.
    pub(crate) fn make(kind: &str) -> Result<Self, HomeError> {
        let name = owner::name(kind);
        let cgroup = Cgroup::create(&name)?;
        match PinDir::create(&name) {
            Ok(pins) => Ok(Self {
                cgroup,
                pins,
                taken: false,
            }),
            Err(error) => {
                // The first error is the one to report.
                let _ = cgroup.remove();
                Err(error.into())
            }
        }
    }

    /// Takes both away; when sockets are still enrolled, leaves the pins and
    /// says so.
    pub(crate) fn take_away(&mut self) -> Result<Option<String>, HomeError> {
        self.taken = true;
        take_away(&self.cgroup, &self.pins)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.taken {
            // On the way out with another error, which is the one to report;
            // what stays is found by the next start.
            let _ = self.take_away();
        }
    }
}

/// Takes a run's cgroup and pins away. Its processes move to the parent
/// cgroup and go on. Sockets that could not be released keep both.
///
/// # Errors
/// When the kernel refuses.
pub fn take_away(cgroup: &Cgroup, pins: &PinDir) -> Result<Option<String>, HomeError> {
    let warning = take_away_pins(pins)?;
    // With the cgroup goes the program that lets sockets leave when they are
    // shut down; without it a blocking reader gets `EAGAIN` for the end of
    // file.
    if warning.is_none() {
        take_away_cgroup(cgroup)?;
    }
    Ok(warning)
}

/// Takes pins away that have no cgroup.
pub(super) fn take_away_pins(pins: &PinDir) -> Result<Option<String>, HomeError> {
    let left = enrolled(&pins.path().join(FAST));
    if left == 0 {
        pins.remove()?;
        return Ok(None);
    }
    Ok(Some(format!(
        "{left} sockets are in use and stay in {}; the next start clears it once they are closed",
        pins.path().display()
    )))
}

/// Takes a cgroup away that has no pins.
pub(super) fn take_away_cgroup(cgroup: &Cgroup) -> Result<(), HomeError> {
    cgroup.move_all_to(&cgroup.parent()?)?;
    cgroup.remove()?;
    Ok(())
}

/// How many sockets are enrolled in the map pinned at `fast`; 0 when it is
/// not there.
#[must_use]
pub fn enrolled(fast: &Path) -> usize {
    let Ok(map) = MapData::from_pin(fast) else {
        return 0;
    };
    sys::keys(map.fd(), EndKey::default())
}
