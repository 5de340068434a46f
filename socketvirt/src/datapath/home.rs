//! The home of a data path: the bpffs folder that its objects are pinned in, by
//! these names, and the cgroup that it is attached to.
//!
//! That of `exec` is its process's own, and goes with it. That of `run` has one name on
//! a host, and outlives the agent: the next one takes it over
//! ([`takeover`](super::takeover)).

use std::path::Path;

use aya::maps::MapData;
use socketvirt_common::record::{pair::EndKey, raw::Raw};

use crate::{
    bpf::sys,
    host::{
        bpffs::{HOST, PinDir, PinError},
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
/// The link that watches what is submitted to rings.
pub const SUBMIT_LINK: &str = "link_submit";
/// The link that watches processes come to another cgroup.
pub const MOVED_LINK: &str = "link_moved";
/// The handshake program.
pub const SOCK_OPS: &str = "sv_sock_ops";
/// The program at the trace point of receive calls.
pub const RECEIVE: &str = "sv_receive";
/// The program that sees which call reads, where the kernel permits no other way.
pub const READ: &str = "sv_read";
/// The program at the trace point of what is submitted to rings.
pub const SUBMIT: &str = "sv_submit";
/// The iterator of visits: reading this file visits the sockets that wait.
pub const ACT_LINK: &str = "act";
/// The iterator of the walk at the start.
pub const DISCOVER_LINK: &str = "discover";
/// The iterator that finds who else holds a socket.
pub const HOLDERS_LINK: &str = "holders";
/// The program that says which rule decides about a connection.
pub const DECIDE: &str = "decide";
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
    /// It was taken over, or its self-test is over.
    #[error("the home has no cgroup of its own; this is a defect of socketvirt, please report it")]
    NoCgroup,
}

/// The folder of pinned objects, and the cgroup that is made beside it. Both are taken
/// away on drop, unless they are left.
#[derive(Debug)]
pub(crate) struct Home {
    /// The home of a host has it until the self-test is over.
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) pins: PinDir,
    is_left: bool,
}

impl Home {
    /// Makes one for the calling process, under a name that begins with `kind`.
    pub(crate) fn make(kind: &str) -> Result<Self, HomeError> {
        let name = owner::name(kind);
        Self::with(Cgroup::create(&name)?, &name)
    }

    /// Makes that of the host.
    pub(crate) fn of_host() -> Result<Self, HomeError> {
        Self::with(Cgroup::create(&owner::name("run"))?, HOST)
    }

    /// Takes over what is there. It is left, unless it is taken away.
    pub(crate) fn taken(pins: PinDir) -> Self {
        Self {
            cgroup: None,
            pins,
            is_left: true,
        }
    }

    fn with(cgroup: Cgroup, name: &str) -> Result<Self, HomeError> {
        match PinDir::create(name) {
            Ok(pins) => Ok(Self {
                cgroup: Some(cgroup),
                pins,
                is_left: false,
            }),
            Err(error) => {
                // The first error is the one to report.
                let _ = cgroup.remove();
                Err(error.into())
            }
        }
    }

    /// The cgroup, of a home that has one.
    pub(crate) fn cgroup(&self) -> Result<&Cgroup, HomeError> {
        self.cgroup.as_ref().ok_or(HomeError::NoCgroup)
    }

    /// Takes the cgroup away that the self-test was in.
    pub(crate) fn leave_cgroup(&mut self) -> Result<(), HomeError> {
        self.cgroup.take().as_ref().map_or(Ok(()), take_away_cgroup)
    }

    /// Leaves it for another agent.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
    }

    /// Takes the pins away and keeps the cgroup; when sockets are still enrolled,
    /// leaves the pins and says so.
    pub(crate) fn detach(&self) -> Result<Option<String>, HomeError> {
        take_away_pins(&self.pins)
    }

    /// Takes both away; when sockets are still enrolled, leaves the pins and
    /// says so.
    pub(crate) fn take_away(&mut self) -> Result<Option<String>, HomeError> {
        self.is_left = true;
        match &self.cgroup {
            Some(cgroup) => take_away(cgroup, &self.pins),
            None => take_away_pins(&self.pins),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.is_left {
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
pub(crate) fn take_away_pins(pins: &PinDir) -> Result<Option<String>, HomeError> {
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

/// Counts the sockets enrolled in the map pinned at `fast`; 0 when it is
/// not there.
#[must_use]
pub fn enrolled(fast: &Path) -> usize {
    let Ok(map) = MapData::from_pin(fast) else {
        return 0;
    };
    sys::keys(map.fd(), Raw::of(EndKey::default()))
}
