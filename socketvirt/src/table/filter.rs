//! Choosing and sorting rows.

use super::view::{Socket, Table};

/// A filter of rows. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only listeners.
    pub listening: bool,
    /// The own or the other port.
    pub ports: Vec<u32>,
    /// One of these statuses.
    pub statuses: Vec<String>,
    /// Below this cgroup.
    pub cgroup: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// One of these families.
    pub families: Vec<String>,
    /// One of these types.
    pub types: Vec<String>,
    /// A process that has it.
    pub pids: Vec<u32>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// By kind, status and address.
    #[default]
    Kind,
    /// By id, oldest first where ids are given in turn.
    Id,
    /// By bytes sent, most first.
    Bytes,
    /// By bytes that wait, most first.
    Queue,
    /// By process.
    Pid,
    /// By own port.
    Port,
    /// By status, in the order of a life.
    Status,
}

impl Filter {
    /// True when a row is wanted.
    #[must_use]
    pub fn admits(&self, socket: &Socket) -> bool {
        let any = |wanted: &[String], is: &str| {
            wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(is))
        };
        (!self.listening || socket.status == "LISTENING")
            && (self.ports.is_empty()
                || self.ports.contains(&socket.local.port)
                || self.ports.contains(&socket.remote.port))
            && any(&self.statuses, socket.status)
            && self.cgroup.as_deref().is_none_or(|wanted| {
                socket
                    .owner
                    .cgroup
                    .as_deref()
                    .is_some_and(|is| below(is, wanted))
            })
            && self
                .path
                .as_deref()
                .is_none_or(|wanted| socket.path.as_ref().is_some_and(|is| is.path == wanted))
            && (any(&self.families, socket.local.family) || any(&self.families, socket.netid))
            && any(&self.types, socket.local.r#type)
            && (self.pids.is_empty()
                || socket
                    .owner
                    .processes
                    .iter()
                    .any(|one| self.pids.contains(&one.pid)))
    }

    /// Leaves the rows that are wanted, in this order.
    pub fn apply(&self, table: &mut Table, order: Order) {
        table.sockets.retain(|socket| self.admits(socket));
        sort(&mut table.sockets, order);
    }
}

/// True when a cgroup is another one or below it.
fn below(is: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    is.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn sort(sockets: &mut [Socket], order: Order) {
    use std::cmp::Reverse;
    let stage = |socket: &Socket| {
        super::words::ALL_STATUSES
            .iter()
            .position(|status| *status == socket.status)
    };
    let sent = |socket: &Socket| {
        socket
            .path
            .as_ref()
            .map_or(0, |path| path.fast_bytes + path.stack_bytes)
    };
    let queued = |socket: &Socket| {
        u64::from(socket.send_queue.bytes)
            + u64::from(socket.receive_queue.bytes)
            + u64::from(socket.receive_queue.redirected)
    };
    match order {
        Order::Kind => sockets.sort_by_key(|socket| {
            (
                socket.netid,
                stage(socket),
                socket.local.port,
                socket.local.name.address.clone(),
                socket.id,
            )
        }),
        Order::Id => sockets.sort_by_key(|socket| socket.id),
        Order::Bytes => sockets.sort_by_key(|socket| (Reverse(sent(socket)), socket.id)),
        Order::Queue => sockets.sort_by_key(|socket| (Reverse(queued(socket)), socket.id)),
        Order::Pid => sockets.sort_by_key(|socket| (socket.owner.pid, socket.id)),
        Order::Port => sockets.sort_by_key(|socket| (socket.local.port, socket.id)),
        Order::Status => sockets.sort_by_key(|socket| (stage(socket), socket.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_not_below_one_that_only_begins_alike() {
        assert!(below("/system.slice/a", "/system.slice"));
        assert!(below("/system.slice", "/system.slice/"));
        assert!(!below("/system.slice2", "/system.slice"));
        assert!(below("/anything", "/"));
    }
}
