//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::phases::Phases;
use crate::place::Place;

/// Both ends of TCP connections whose every byte is checked.
#[derive(Debug, Parser)]
#[command(name = "workload")]
pub(crate) struct Cli {
    /// Seconds until the state of every connection is printed and the program
    /// fails. No machine is that slow: it ends what hangs.
    #[arg(long, global = true, default_value_t = 1200)]
    pub(crate) deadline: u64,
    /// Begin once connections are redirected from their first byte: blocking
    /// sockets are not adopted later.
    #[arg(long, global = true)]
    pub(crate) eager: bool,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Connections that follow a script of phases, contents checked.
    Streams(Streams),
    /// A reader that stops; how much the sender gets rid of; exact afterwards.
    Backpressure(Backpressure),
    /// A program that shows something, and connects again.
    Habit(Habit),
    /// Two connections with the same addresses and sequence numbers.
    Twins(Twins),
    /// A packet that brings bytes again, together with new ones.
    Resend(Resend),
    /// A connection whose way is cut.
    Severed,
    /// A server that has a request, or half of one, unread nearly all the time.
    Unread(Unread),
    /// A server without memory to send with, that has to hear when there is some.
    Starved(Starved),
    /// Values stored in a server and read back.
    Kv(Kv),
    /// Scenarios of socket calls, each answer written down.
    #[command(name = "scenario")]
    Calls(crate::conform::Args),
}

/// The way in which a socket is waited on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Io {
    /// Blocking calls, a reading and a writing thread a connection.
    Blocking,
    /// Blocking calls, one thread a connection and end.
    Single,
    /// Level-triggered epoll.
    Level,
    /// Edge-triggered epoll, reading until EAGAIN.
    Edge,
    /// Edge-triggered epoll, a short read taken as the end (see epoll(7)).
    EdgeShort,
}

#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of a command line"
)]
pub(crate) struct Streams {
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(long, value_enum, default_value = "level")]
    pub(crate) io: Io,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// Connections in all; by default as many as at a time.
    #[arg(long)]
    pub(crate) total: Option<u32>,
    #[arg(long, default_value = "pp:100")]
    pub(crate) phases: Phases,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A blocking receive that answers EAGAIN is repeated (and counted).
    #[arg(long)]
    pub(crate) retry_eagain: bool,
    /// The accepting side speaks first.
    #[arg(long)]
    pub(crate) server_first: bool,
    /// `FIONREAD` may count too little, as kernels let it do where redirected bytes
    /// have a queue of their own.
    #[arg(long)]
    pub(crate) two_queues: bool,
    /// Each turn of an end sets `TCP_NOTSENT_LOWAT` to what it is, whereupon the
    /// kernel tells of room to send.
    #[arg(long)]
    pub(crate) tell_room: bool,
    /// accept(2) may come after the first bytes, which FIONREAD then does not
    /// count on a socket enrolled at the handshake.
    #[arg(long)]
    pub(crate) late_accept: bool,
    /// Written by the server once it listens; for tests that act meanwhile.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Backpressure {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Blocking sockets; otherwise non-blocking with epoll.
    #[arg(long)]
    pub(crate) blocking: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// Bytes in one send.
    #[arg(long, default_value_t = 4096)]
    pub(crate) message: usize,
    /// Messages sent at most while the reader stands still.
    #[arg(long, default_value_t = 20_000_000)]
    pub(crate) limit: u64,
    /// Rounds of requests and answers before the reader stops.
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_rounds: u32,
    /// More of them, until each connection is redirected.
    #[arg(long)]
    pub(crate) until_fast: bool,
    /// Pace of these rounds a second.
    #[arg(long, default_value_t = 200)]
    pub(crate) warm_rate: u32,
    /// Folder of a cgroup (v1) that the readers' memory is charged to.
    #[arg(long)]
    pub(crate) readers_in: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Redis,
    Memcached,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Kv {
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(long, value_enum)]
    pub(crate) protocol: Protocol,
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long)]
    pub(crate) blocking: bool,
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: u32,
    #[arg(long, default_value_t = 200)]
    pub(crate) keys: u32,
    /// The largest value in bytes.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) value: usize,
    #[arg(long, default_value_t = 2000)]
    pub(crate) operations: u32,
    /// Operations a second; 0 is as fast as possible.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
    /// Go on until each connection was redirected.
    #[arg(long, conflicts_with = "until_go")]
    pub(crate) until_fast: bool,
    /// Go on until the test says that it has seen enough.
    #[arg(long)]
    pub(crate) until_go: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Twins {
    /// Name under /run/netns of the first connection's namespace.
    #[arg(long)]
    pub(crate) first: String,
    /// That of the second connection's namespace.
    #[arg(long)]
    pub(crate) second: String,
    /// Make the server of the first and the client of the second in the root
    /// cgroup: of each connection only a half is left.
    #[arg(long)]
    pub(crate) halves: bool,
    /// Rounds a second, until the test says that it has seen enough.
    #[arg(long, default_value_t = 200)]
    pub(crate) rate: u32,
    /// Rounds after that.
    #[arg(long, default_value_t = 0)]
    pub(crate) more: u32,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Resend {
    /// Bytes that arrive again.
    #[arg(long, default_value_t = 10)]
    pub(crate) overlap: u32,
    /// Bytes behind them that are new; without any, the end of the stream is.
    #[arg(long, default_value_t = 30)]
    pub(crate) new: u32,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Unread {
    /// The server is always behind by half a request.
    #[arg(long)]
    pub(crate) half: bool,
    /// The server peeks at its request all the time.
    #[arg(long)]
    pub(crate) peek: bool,
    /// The server asks all the time how much there is.
    #[arg(long)]
    pub(crate) ask: bool,
    /// Connections, one after another.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// Requests and answers of each.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rounds: u32,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Starved {
    /// Folder of a cgroup (v1) that the servers' memory is charged to.
    #[arg(long)]
    pub(crate) server_in: PathBuf,
    /// Connections, one after another, that each send something.
    #[arg(long, default_value_t = 20)]
    pub(crate) connections: u32,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Habit {
    /// The habit that the program shows on its first connection.
    #[arg(long, value_enum)]
    pub(crate) shows: Shows,
    /// Address of the service that it is shown to.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// Blocking sockets.
    #[arg(long)]
    pub(crate) blocking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shows {
    /// Requests and answers, nothing else.
    Nothing,
    /// splice(2) out of the socket.
    Splice,
    /// `SO_RCVLOWAT` above 1, once the connection is redirected.
    Rcvlowat,
    /// The same above the size of a message, for which poll(2) is not asked.
    HighMark,
    /// Blocking mode, once the connection is redirected.
    Blocks,
    /// `F_SETOWN`, on each of its connections.
    Owner,
    /// A receive with `MSG_WAITALL`.
    WaitAll,
    /// A receive with `MSG_OOB`.
    Urgent,
    /// The same, once the connection is redirected.
    UrgentAsked,
    /// A receive with `MSG_TRUNC`.
    Discards,
    /// Urgent data from the server, long before the connection could be
    /// redirected, which the client does not care for.
    UrgentCame,
    /// Urgent data from the client, once the connection is redirected.
    UrgentSent,
    /// close(2) by the server with redirected bytes unread.
    Unread,
    /// close(2) by the server after the client's, nothing unread.
    ClosesSecond,
}
