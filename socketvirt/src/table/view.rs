//! The table as it is shown: rows joined with everything that belongs to
//! them. These structures are the JSON schema, which `docs/socket-table.md`
//! describes.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};
use socketvirt_common::{
    reason::Reason,
    record::Holder,
    row::{Family, Row, State},
    status::Status,
};

use super::{
    SCHEMA, TableError, agents, cgroups, options, peers,
    source::{Namespaces, Scan, Source},
    words::{self, Word, text},
};

/// The table.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Version of these structures.
    pub schema: u32,
    /// The agents whose knowledge is in it.
    pub agents: Vec<String>,
    /// Sockets that found no room in an agent's map since it was started.
    pub missing: u64,
    /// The rows.
    pub sockets: Vec<Socket>,
}

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
    /// Who has it.
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
    pub address: String,
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
    /// What poll(2) would say.
    pub event: Vec<&'static str>,
    /// Whether calls wait.
    pub blocking: bool,
    /// Whether a reader sleeps in the kernel.
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
    pub address: String,
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

/// Who has it.
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
    /// `stack`, `fast`, `pinned`.
    pub path: &'static str,
    /// Why it is not fast.
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
    /// Whether a scan found it so, some time after it happened.
    pub scanned: bool,
}

impl Table {
    /// Reads the table once.
    ///
    /// # Errors
    /// When the kernel refuses, or lacks something.
    pub fn read(source: &Source, which: &Namespaces) -> Result<Self, TableError> {
        let mut scan = source.read(which)?;
        let known = agents::join(&mut scan, which);
        peers::find(&mut scan.rows);
        let mut table = Self::of(scan);
        table.agents = known.names;
        table.missing = known.missing;
        Ok(table)
    }

    fn of(scan: Scan) -> Self {
        let cgroups = cgroups::paths();
        let mut holders: HashMap<u64, Vec<Holder>> = HashMap::new();
        for holder in scan.holders {
            holders.entry(holder.id).or_default().push(holder);
        }
        for list in holders.values_mut() {
            list.sort_by_key(|holder| (holder.pid, holder.fd));
            list.dedup_by_key(|holder| (holder.pid, holder.fd));
        }
        let mut sockets: Vec<Socket> = scan
            .rows
            .iter()
            .map(|row| {
                let holders = holders.get(&row.id).map_or(&[][..], Vec::as_slice);
                let mut socket = Socket::of(row, holders, &cgroups);
                socket.local.netns_name = scan.namespaces.get(&row.local.netns).cloned();
                socket
            })
            .collect();
        beside(&mut sockets);
        Self {
            schema: SCHEMA,
            agents: Vec::new(),
            missing: 0,
            sockets,
        }
    }

    /// The row of this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Socket> {
        self.sockets.iter().find(|socket| socket.id == id)
    }
}

/// Puts into each row what is known of its peer.
fn beside(sockets: &mut [Socket]) {
    let known: HashMap<u64, (u32, Option<u32>, Option<String>)> = sockets
        .iter()
        .map(|socket| {
            let owner = &socket.owner;
            (
                socket.id,
                (socket.local.netns, owner.pid, owner.command.clone()),
            )
        })
        .collect();
    for socket in sockets {
        let remote = &mut socket.remote;
        if let Some((netns, pid, command)) = remote.id.and_then(|id| known.get(&id)) {
            remote.netns = Some(*netns);
            remote.pid = *pid;
            remote.command.clone_from(command);
        }
    }
}

impl Socket {
    fn of(row: &Row, holders: &[Holder], cgroups: &HashMap<u64, String>) -> Self {
        Self {
            id: row.id,
            status: row.status.word(),
            state: row.state.word(),
            netid: words::short_kind(row),
            local: Local::of(row),
            remote: Remote {
                address: words::address(&row.remote.address),
                port: row.remote.port,
                id: (row.remote.id != 0).then_some(row.remote.id),
                ..Remote::default()
            },
            options: options::options(row),
            send_queue: SendQueue {
                bytes: row.send_queue.bytes,
                memory: row.send_queue.memory,
                limit: row.send_queue.limit,
            },
            receive_queue: ReceiveQueue {
                bytes: row.receive_queue.bytes,
                redirected: row.receive_queue.redirected,
                memory: row.receive_queue.memory,
                limit: row.receive_queue.limit,
            },
            connection_queue: (row.state == State::LISTEN).then_some(ConnectionQueue {
                half_open: row.connection_queue.half_open,
                waiting: row.connection_queue.waiting,
                limit: row.connection_queue.limit,
            }),
            owner: Owner::of(row, holders, cgroups),
            path: Path::of(row),
            history: row
                .history
                .iter()
                .map(|step| Step {
                    status: step.status.word(),
                    at: step.at,
                    scanned: step.scanned != 0,
                })
                .collect(),
        }
    }
}

impl Local {
    fn of(row: &Row) -> Self {
        let mut shutdown = Vec::new();
        if row.shutdown & socketvirt_common::status::RCV_SHUTDOWN != 0 {
            shutdown.push("receive");
        }
        if row.shutdown & socketvirt_common::status::SEND_SHUTDOWN != 0 {
            shutdown.push("send");
        }
        Self {
            address: words::address(&row.local.address),
            port: row.local.port,
            family: row.local.family.word(),
            r#type: row.local.kind.word(),
            protocol: row.local.protocol.word(),
            netns: row.local.netns,
            netns_name: None,
            event: words::events(row.local.event),
            blocking: row.local.blocking != 0,
            reader_waits: row.reader_waits != 0,
            shutdown,
            error: row.error,
        }
    }
}

impl Owner {
    fn of(row: &Row, holders: &[Holder], cgroups: &HashMap<u64, String>) -> Self {
        let first = holders
            .first()
            .map(|holder| (holder.pid, text(&holder.command)))
            .or((row.owner.pid != 0).then(|| (row.owner.pid, text(&row.owner.command))));
        Self {
            cgroup: cgroups.get(&row.owner.cgroup).cloned(),
            cgroup_id: row.owner.cgroup,
            uid: row.owner.uid,
            inode: row.owner.inode,
            pid: first.as_ref().map(|(pid, _)| *pid),
            command: first.map(|(_, command)| command),
            processes: holders
                .iter()
                .map(|holder| Process {
                    pid: holder.pid,
                    fd: holder.fd,
                    command: text(&holder.command),
                })
                .collect(),
        }
    }
}

impl Path {
    fn of(row: &Row) -> Option<Self> {
        let connection = row.local.protocol == socketvirt_common::row::Protocol::TCP
            && row.local.family != Family::UNIX
            && !matches!(row.state, State::LISTEN)
            && !matches!(
                row.status,
                Status::UNCONNECTED | Status::BOUND | Status::LISTENING | Status::CONNECTING
            );
        connection.then(|| {
            let traffic = &row.send.traffic;
            Self {
                path: row.send.path.word(),
                reason: match row.send.reason {
                    Reason::None => "none",
                    reason => reason.word(),
                },
                enrolment: row.send.enrolment.word(),
                fast_bytes: traffic.fast_bytes,
                fast_messages: traffic.fast_messages,
                stack_bytes: traffic.stack_bytes,
                stack_messages: traffic.stack_messages,
                to_fast: traffic.to_fast,
                to_stack: traffic.to_stack,
            }
        })
    }
}
