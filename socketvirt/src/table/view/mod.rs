//! The table as it is shown: rows joined with everything that belongs to
//! them. These structures are the JSON schema, which `docs/socket-table.md`
//! describes.

mod schema;

use std::collections::HashMap;

use serde::Serialize;
use socketvirt_common::{
    reason::Reason,
    record::{
        row::{ADDRESS_TEXT, Family, Row, State},
        status::Status,
        stream::Holder,
        text::Text,
    },
};

pub use self::schema::{
    ConnectionQueue, Local, Owner, Path, Process, ReceiveQueue, Remote, SendQueue, Socket, Step,
};
use super::{
    SCHEMA, TableError,
    agents::Agents,
    names::Name,
    options, peers,
    source::{Namespaces, Scan, Source},
    words::{self, Word, text},
};
use crate::host::cgroup_paths;

/// The table.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Version of these structures.
    pub schema: u32,
    /// The agents whose knowledge is in it.
    pub agents: Vec<String>,
    /// Agents of other builds of socketvirt, whose knowledge is not in it.
    pub other_builds: Vec<String>,
    /// Sockets that found no room in an agent's map since it was started.
    pub missing: u64,
    /// The rows.
    pub sockets: Vec<Socket>,
}

impl Table {
    /// Reads the table once.
    ///
    /// # Errors
    /// When the kernel refuses, or lacks something.
    pub fn read(source: &Source, which: &Namespaces) -> Result<Self, TableError> {
        Self::read_again(source, &mut Agents::default(), which)
    }

    /// [`Table::read`] for those who come again: readers of agents are kept.
    ///
    /// # Errors
    /// When the kernel refuses, or lacks something.
    pub fn read_again(
        source: &Source,
        agents: &mut Agents,
        which: &Namespaces,
    ) -> Result<Self, TableError> {
        let mut scan = source.read(which)?;
        let known = agents.join(&mut scan, which);
        peers::find(&mut scan.rows);
        let mut table = Self::of(scan, &cgroup_paths::paths());
        table.agents = known.names;
        table.other_builds = known.others;
        table.missing = known.missing;
        Ok(table)
    }

    /// Makes the rows of one scan, with the paths of cgroups by id.
    #[must_use]
    pub fn of(scan: Scan, cgroups: &HashMap<u64, String>) -> Self {
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
                let mut socket = Socket::of(row, holders, cgroups);
                socket.local.netns_name = scan.namespaces.get(&row.local.netns).cloned();
                socket
            })
            .collect();
        beside(&mut sockets);
        Self {
            schema: SCHEMA,
            agents: Vec::new(),
            other_builds: Vec::new(),
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
                name: name(row, &row.remote.address),
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

/// The address of one end.
fn name(row: &Row, address: &Text<ADDRESS_TEXT>) -> Name {
    match row.local.family {
        Family::UNIX => Name::of_unix(address),
        _ => Name::of_address(words::address(address)),
    }
}

impl Local {
    fn of(row: &Row) -> Self {
        let mut shutdown = Vec::new();
        if row.shutdown & socketvirt_common::uapi::RCV_SHUTDOWN != 0 {
            shutdown.push("receive");
        }
        if row.shutdown & socketvirt_common::uapi::SEND_SHUTDOWN != 0 {
            shutdown.push("send");
        }
        Self {
            name: name(row, &row.local.address),
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
        let connection = row.local.protocol == socketvirt_common::record::row::Protocol::TCP
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
