//! Rows for tests.

use serde_json::Map;

use crate::table::{
    names::Name,
    view::{Local, Owner, Path, ReceiveQueue, Remote, SendQueue, Socket, Table},
};

/// A table of these rows, of one agent.
pub fn table(sockets: Vec<Socket>) -> Table {
    Table {
        schema: 1,
        agents: vec!["run-1-2".to_owned()],
        other_builds: Vec::new(),
        missing: 0,
        sockets,
    }
}

/// A connected socket with this own port, and this row as its peer.
pub fn connection(id: u64, port: u32, peer: Option<u64>) -> Socket {
    Socket {
        id,
        status: "CONNECTED",
        state: "ESTABLISHED",
        netid: "tcp",
        local: Local {
            name: Name::of_address("127.0.0.1".to_owned()),
            port,
            family: "inet",
            r#type: "stream",
            protocol: "tcp",
            netns: 1,
            netns_name: None,
            event: Vec::new(),
            blocking: false,
            reader_waits: false,
            shutdown: Vec::new(),
            error: 0,
        },
        remote: Remote {
            id: peer,
            ..Remote::default()
        },
        options: Map::new(),
        send_queue: SendQueue {
            bytes: 0,
            memory: 0,
            limit: 0,
        },
        receive_queue: ReceiveQueue {
            bytes: 0,
            redirected: 0,
            memory: 0,
            limit: 0,
        },
        connection_queue: None,
        owner: Owner {
            cgroup: Some("/test.slice".to_owned()),
            cgroup_id: 7,
            uid: 0,
            inode: id,
            pid: u32::try_from(id).ok(),
            command: Some(format!("program-{port}")),
            processes: Vec::new(),
        },
        path: Some(Path {
            path: "stack",
            reason: "none",
            enrolment: "none",
            fast_bytes: 0,
            fast_messages: 0,
            stack_bytes: 0,
            stack_messages: 0,
            to_fast: 0,
            to_stack: 0,
        }),
        history: Vec::new(),
    }
}

/// A socket that listens at a port.
pub fn listener(id: u64, port: u32) -> Socket {
    Socket {
        status: "LISTENING",
        path: None,
        ..connection(id, port, None)
    }
}

/// The path of a connection, to be changed.
pub fn path(socket: &mut Socket) -> &mut Path {
    socket.path.as_mut().expect("a connection")
}
