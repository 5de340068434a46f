//! Where and how the two ends of a connection meet: arguments of a command line.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    V4,
    V6,
    /// IPv4-mapped IPv6 addresses on one or both ends.
    Mapped,
}

/// Where and how the two ends meet.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of a command line"
)]
pub(crate) struct Place {
    #[arg(long, value_enum, default_value = "v4")]
    pub(crate) family: Family,
    /// Address to listen at; port 0 picks one. Default: the family's loopback.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address that clients connect to; port 0 means the listener's.
    #[arg(long)]
    pub(crate) connect: Option<SocketAddr>,
    /// Clients bind this port and those after it.
    #[arg(long)]
    pub(crate) client_port: Option<u16>,
    /// Name under /run/netns that the server enters.
    #[arg(long)]
    pub(crate) server_netns: Option<String>,
    /// Name under /run/netns that the clients enter.
    #[arg(long)]
    pub(crate) client_netns: Option<String>,
    /// Both ends in one process, instead of a process each.
    #[arg(long)]
    pub(crate) threads: bool,
    /// The first words travel in the SYN (`TCP_FASTOPEN`).
    #[arg(long)]
    pub(crate) fastopen: bool,
    /// The listener asks for `TCP_DEFER_ACCEPT`.
    #[arg(long)]
    pub(crate) defer_accept: bool,
    /// The listener, and so what it accepts, asks for time stamps.
    #[arg(long)]
    pub(crate) timestamp: bool,
    #[arg(long)]
    pub(crate) sndbuf: Option<usize>,
    #[arg(long)]
    pub(crate) rcvbuf: Option<usize>,
    /// Leave Nagle's algorithm on.
    #[arg(long)]
    pub(crate) nagle: bool,
}
