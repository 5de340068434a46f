//! The options of the benchmark and of its workers.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

/// Compare plain TCP, the fast path and Unix sockets in one interleaved run.
///
/// Ten minutes at most; leave the machine alone meanwhile. Needs root for the
/// accelerated variants and the namespaces.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,

    /// Fewer sizes and shorter samples: less than a minute.
    #[arg(long)]
    pub quick: bool,

    /// Measure only this group (repeatable): blocking, epoll, stream,
    /// stream-blocking, stream-veth, stream-veth-blocking, stream-bridge,
    /// stream-bridge-blocking, connect, netns, netns-epoll, presence, bystander,
    /// floor, table, scale.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,

    /// Draw what `scale` has measured into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub figure: Option<PathBuf>,
}

/// One end of the measured connections; started by `bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerArgs {
    /// Be the end that listens.
    #[arg(long)]
    pub peer: bool,

    /// Address to listen on.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub ip: IpAddr,

    /// Network namespace of the end that connects.
    #[arg(long)]
    pub client_netns: Option<PathBuf>,

    /// Network namespace of the end that listens.
    #[arg(long)]
    pub server_netns: Option<PathBuf>,

    /// Id of the naive redirect's map, into which the connections go.
    #[arg(long)]
    pub naive: Option<u32>,
}

impl WorkerArgs {
    /// On this host's loopback.
    #[must_use]
    pub fn loopback() -> Self {
        let ip = Ipv4Addr::LOCALHOST.into();
        Self {
            peer: false,
            ip,
            client_netns: None,
            server_netns: None,
            naive: None,
        }
    }
}
