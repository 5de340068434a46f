//! Names of the objects pinned in the data path's folder.

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
