//! The schema of a row, which `docs/socket-table.md` describes.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::table::names::Name;

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Socket {
    /// Socket cookie.
    pub id: u64,
    /// One of the ten statuses.
    pub status: &'static str,
    /// The protocol's state.
    pub state: &'static str,
    /// `tcp`, `udp`, `u_str` and so on, as `ss` says.
    pub netid: &'static str,
    /// Local socket structure.
    pub local: Local,
    /// Remote socket structure.
    pub remote: Remote,
    /// Options in force, by name.
    pub options: Map<String, Value>,
    /// Bytes to be sent.
    pub send_queue: SendQueue,
    /// Bytes to be read.
    pub receive_queue: ReceiveQueue,
    /// Connections that wait; of listeners only.
    pub connection_queue: Option<ConnectionQueue>,
    /// Its owner.
    pub owner: Owner,
    /// The path of what it sends; TCP connections only.
    pub path: Option<Path>,
    /// Steps of its life that an agent saw, oldest first.
    pub history: Vec<Step>,
}

/// Local socket structure.
#[derive(Clone, Debug, Serialize)]
pub struct Local {
    /// Address, or name of a Unix socket; `*` for any.
    #[serde(flatten)]
    pub name: Name,
    /// Port, 0 without one.
    pub port: u32,
    /// `inet`, `inet6`, `unix`.
    pub family: &'static str,
    /// `stream`, `dgram`, `seqpacket`.
    pub r#type: &'static str,
    /// `tcp`, `udp`, `none`.
    pub protocol: &'static str,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Its name, where it has one.
    pub netns_name: Option<String>,
    /// The events that poll(2) would tell.
    pub event: Vec<&'static str>,
    /// True when calls wait.
    pub blocking: bool,
    /// True when a reader sleeps in the kernel.
    pub reader_waits: bool,
    /// Own shutdown(2) or the peer's end: `receive`, `send`.
    pub shutdown: Vec<&'static str>,
    /// The error that the next call returns, 0 without one.
    pub error: u32,
}

/// Remote socket structure.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Remote {
    /// Address as this end sees it; empty without one.
    #[serde(flatten)]
    pub name: Name,
    /// Port.
    pub port: u32,
    /// The row of the other end, when it is on this host.
    pub id: Option<u64>,
    /// Inode of its network namespace.
    pub netns: Option<u32>,
    /// The process there.
    pub pid: Option<u32>,
    /// The name of that process.
    pub command: Option<String>,
}

/// Bytes to be sent.
#[derive(Clone, Debug, Serialize)]
pub struct SendQueue {
    /// Payload that the peer has not confirmed (TCP), memory otherwise.
    pub bytes: u32,
    /// Memory in use.
    pub memory: u32,
    /// Its limit.
    pub limit: u32,
}

/// Bytes to be read.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiveQueue {
    /// Delivered by the stack.
    pub bytes: u32,
    /// Delivered by redirect.
    pub redirected: u32,
    /// Memory in use.
    pub memory: u32,
    /// Its limit.
    pub limit: u32,
}

/// Connections that wait.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionQueue {
    /// Handshake not complete.
    pub half_open: u32,
    /// Wait for accept(2).
    pub waiting: u32,
    /// The most that may wait.
    pub limit: u32,
}

/// Its owner.
#[derive(Clone, Debug, Serialize)]
pub struct Owner {
    /// Path of the cgroup; `None` when it is gone.
    pub cgroup: Option<String>,
    /// Id of the cgroup.
    pub cgroup_id: u64,
    /// User.
    pub uid: u32,
    /// Inode of the socket's file, as in `/proc/<pid>/fd`.
    pub inode: u64,
    /// The process, of several the first that opened it.
    pub pid: Option<u32>,
    /// Its name.
    pub command: Option<String>,
    /// All processes that have it open.
    pub processes: Vec<Process>,
}

/// A process that has it open.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// The process.
    pub pid: u32,
    /// The descriptor.
    pub fd: u32,
    /// Its name.
    pub command: String,
}

/// The path of what a socket sends.
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    /// `stack`, `fast`, `kept`.
    pub path: &'static str,
    /// The reason that it is not fast.
    pub reason: &'static str,
    /// `none`, `adopted`, `eager`, `leaving`.
    pub enrolment: &'static str,
    /// Bytes by redirect.
    pub fast_bytes: u64,
    /// Messages by redirect.
    pub fast_messages: u64,
    /// Bytes by the stack.
    pub stack_bytes: u64,
    /// Messages by the stack.
    pub stack_messages: u64,
    /// Changes to the fast path.
    pub to_fast: u64,
    /// Changes to the stack.
    pub to_stack: u64,
}

/// A step of its life.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The status.
    pub status: &'static str,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// True when a scan found it so, some time after it happened.
    pub scanned: bool,
}
