//! The agent: loads the data path, scans, and takes it away again.

pub mod begun;
pub mod checks;
pub mod config;
pub mod datapath;
pub mod habits;
pub mod leftovers;
mod memory;
pub mod run;
pub mod scan;
pub mod scope;
pub mod selftest;
pub mod splicers;
pub mod summary;
mod sys;
mod turns;
mod waiting;

/// Names of the objects pinned in the data path's folder.
pub mod pins {
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
    /// The iterator: each read of this file is one pass of a scan.
    pub const SCAN_LINK: &str = "scan";
    /// Switches.
    pub const CONFIG: &str = "sv_config";
    /// The enrolled sockets.
    pub const FAST: &str = "sv_fast";
}
