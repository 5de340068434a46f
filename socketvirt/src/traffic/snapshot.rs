//! A moment of the table: of each TCP connection what its traffic is told by.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde::Serialize;

use super::counts::Counts;
use crate::table::{
    print,
    view::{Socket, Table},
};

/// A moment of the table.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The time since some fixed moment.
    pub at: Duration,
    /// The agents whose knowledge is in it.
    pub agents: Vec<String>,
    /// The ends of connections, by id.
    pub ends: HashMap<u64, End>,
    /// The ports that are listened at, with their namespaces.
    pub listening: HashSet<(u32, u32)>,
}

/// One end of a connection.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// The id of its row.
    pub id: u64,
    /// The row of the other end, when it is on this host.
    #[serde(skip)]
    pub peer: Option<u64>,
    /// Address and port, as people write them.
    pub address: String,
    /// The port.
    pub port: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process, of several the first that opened it.
    pub pid: Option<u32>,
    /// Its name.
    pub command: Option<String>,
    /// Path of the cgroup; none when it is gone.
    pub cgroup: Option<String>,
    /// The path of what it sends: `stack`, `fast`, `kept`.
    pub path: &'static str,
    /// The reason that it is not fast.
    pub reason: &'static str,
    /// What it has sent.
    #[serde(skip)]
    pub counts: Counts,
}

impl Snapshot {
    /// Keeps what is needed of a table that was read at this time.
    #[must_use]
    pub fn of(table: &Table, at: Duration) -> Self {
        let connections = table
            .sockets
            .iter()
            .filter(|socket| socket.status != "TERMINATED");
        let tcp = |socket: &&Socket| socket.status == "LISTENING" && socket.local.protocol == "tcp";
        let listeners = table.sockets.iter().filter(tcp);
        Self {
            at,
            agents: table.agents.clone(),
            ends: connections
                .filter_map(End::of)
                .map(|end| (end.id, end))
                .collect(),
            listening: listeners
                .map(|socket| (socket.local.netns, socket.local.port))
                .collect(),
        }
    }

    /// Adds the ends of an older snapshot that have ended since, as they were, and the
    /// processes of those that were closed.
    pub fn keep_ended(&mut self, older: Self) {
        for (id, then) in older.ends {
            let end = self.ends.entry(id).or_insert_with(|| then.clone());
            if end.command.is_none() {
                (end.pid, end.command) = (then.pid, then.command);
            }
        }
        self.listening.extend(older.listening);
    }

    /// Tells client and server apart: the server's port is listened at. Where no port is,
    /// or both, the lower one is taken for the server's.
    #[must_use]
    pub fn in_order<'a>(&self, one: &'a End, other: &'a End) -> (&'a End, &'a End) {
        let listens = |end: &End| self.listening.contains(&(end.netns, end.port));
        let serves = |end: &End| (listens(end), u32::MAX - end.port, end.id);
        if serves(one) > serves(other) {
            (other, one)
        } else {
            (one, other)
        }
    }
}

impl End {
    /// `None` for a socket that is no TCP connection.
    fn of(socket: &Socket) -> Option<Self> {
        let path = socket.path.as_ref()?;
        Some(Self {
            id: socket.id,
            peer: socket.remote.id,
            address: print::end(&socket.local.name, socket.local.port, socket.local.family),
            port: socket.local.port,
            netns: socket.local.netns,
            pid: socket.owner.pid,
            command: socket.owner.command.clone(),
            cgroup: socket.owner.cgroup.clone(),
            path: path.path,
            reason: path.reason,
            counts: Counts {
                fast_bytes: path.fast_bytes,
                fast_messages: path.fast_messages,
                stack_bytes: path.stack_bytes,
                stack_messages: path.stack_messages,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{connection, listener, table},
        *,
    };

    #[test]
    fn only_tcp_connections_that_live_are_kept() {
        let mut over = connection(3, 5003, None);
        over.status = "TERMINATED";
        let kept = table(vec![listener(1, 80), connection(2, 5002, Some(4)), over]);
        let snapshot = Snapshot::of(&kept, Duration::ZERO);
        assert_eq!(snapshot.ends.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(snapshot.ends[&2].address, "127.0.0.1:5002");
    }

    #[test]
    fn ends_that_have_ended_stay_as_they_were() {
        let mut rows = [connection(1, 40_000, Some(2)), connection(2, 80, Some(1))];
        super::super::testing::path(&mut rows[0]).stack_bytes = 5;
        let older = Snapshot::of(&table(rows.to_vec()), Duration::ZERO);
        let mut newer = connection(2, 80, None);
        newer.owner.command = None;
        super::super::testing::path(&mut newer).stack_bytes = 9;
        let mut both = Snapshot::of(&table(vec![newer]), Duration::from_secs(1));
        both.keep_ended(older);
        let bytes = [1, 2].map(|id| both.ends[&id].counts.stack_bytes);
        assert_eq!((bytes, both.at), ([5, 9], Duration::from_secs(1)));
        assert_eq!(both.ends[&2].command.as_deref(), Some("program-80"));
    }

    #[test]
    fn the_end_whose_port_is_listened_at_is_the_server() {
        let kept = table(vec![
            listener(1, 50_000),
            connection(2, 50_000, Some(3)),
            connection(3, 5432, Some(2)),
        ]);
        let snapshot = Snapshot::of(&kept, Duration::ZERO);
        let order = |one, other| {
            let (client, server) = snapshot.in_order(&snapshot.ends[&one], &snapshot.ends[&other]);
            (client.id, server.id)
        };
        assert_eq!([order(2, 3), order(3, 2)], [(3, 2), (3, 2)]);
        // Nobody listens any more.
        let snapshot = Snapshot::of(&table(kept.sockets[1..].to_vec()), Duration::ZERO);
        let (client, server) = snapshot.in_order(&snapshot.ends[&3], &snapshot.ends[&2]);
        assert_eq!((client.id, server.id), (2, 3));
    }
}
