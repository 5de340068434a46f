//! The plain answer to which rule decides: what the kernel side has to answer, and
//! why.

use std::net::IpAddr;

use super::{
    compile::number_of,
    file::{Action, Policy, Rule},
    value::{
        Many,
        address::Ports,
        owner::{Gid, Uid},
    },
};

/// A connection, as one of its ends knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The server's address and port.
    pub server: (IpAddr, u16),
    /// The client's.
    pub client: (IpAddr, u16),
    /// The path of the end's cgroup; none for one that is gone.
    pub cgroup: Option<String>,
    /// The number of its network namespace.
    pub namespace: u32,
    /// The user who has made the socket.
    pub uid: u32,
    /// The group; none while it is not known.
    pub gid: Option<u32>,
    /// The path of the executable that reads it; none while it is not known.
    pub executable: Option<String>,
}

/// The answer for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rule with this number decides.
    Rule(usize),
    /// No rule matches.
    Default,
    /// Something decides that is not known yet: of this rule.
    Open(usize),
}

/// Of a rule and an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It matches.
    Yes,
    /// It does not, for this property.
    No(&'static str),
    /// It matches, if this property does, which is not known yet.
    If(&'static str),
}

impl Policy {
    /// Returns the rule that decides about an end.
    #[must_use]
    pub fn decide(&self, end: &End) -> Decision {
        for (number, rule) in self.rules.iter().enumerate() {
            match rule.matches(end) {
                Match::Yes => return Decision::Rule(number),
                Match::If(_) => return Decision::Open(number),
                Match::No(_) => {}
            }
        }
        Decision::Default
    }

    /// Returns what a decision means; none while it is open.
    #[must_use]
    pub fn action(&self, decision: Decision) -> Option<Action> {
        match decision {
            Decision::Rule(number) => self.rules.get(number).map(|rule| *rule.action.get_ref()),
            Decision::Default => Some(self.default),
            Decision::Open(_) => None,
        }
    }
}

impl Rule {
    /// Compares a rule with an end.
    #[must_use]
    pub fn matches(&self, end: &End) -> Match {
        let (server, client) = (end.server, end.client);
        let cgroup = end.cgroup.as_deref().unwrap_or_default();
        let known = [
            (
                "server_port",
                holds(self.server_port.as_ref(), |p| contains(*p, server.1)),
            ),
            (
                "client_port",
                holds(self.client_port.as_ref(), |p| contains(*p, client.1)),
            ),
            (
                "port",
                holds(self.port.as_ref(), |p| {
                    contains(*p, server.1) || contains(*p, client.1)
                }),
            ),
            (
                "server_address",
                holds(self.server_address.as_ref(), |p| p.has(server.0)),
            ),
            (
                "client_address",
                holds(self.client_address.as_ref(), |p| p.has(client.0)),
            ),
            (
                "address",
                holds(self.address.as_ref(), |p| {
                    p.has(server.0) || p.has(client.0)
                }),
            ),
            ("cgroup", holds(self.cgroup.as_ref(), |one| one.has(cgroup))),
            ("unit", holds(self.unit.as_ref(), |one| one.has(cgroup))),
            ("pod", holds(self.pod.as_ref(), |one| one.has(cgroup))),
            (
                "container",
                holds(self.container.as_ref(), |one| one.has(cgroup)),
            ),
            (
                "namespace",
                holds(self.namespace.as_ref(), |one| {
                    number_of(one) == Some(end.namespace)
                }),
            ),
            ("uid", holds(self.uid.as_ref(), |Uid(uid)| *uid == end.uid)),
        ];
        if let Some((property, _)) = known.iter().find(|(_, holds)| !holds) {
            return Match::No(property);
        }
        let gid = self.gid.as_ref().map(|many| {
            let is = |gid| many.any(|Gid(one)| *one == gid);
            ("gid", end.gid.map(is))
        });
        let executable = self.executable.as_ref().map(|many| {
            let is = |path: &String| many.any(|one| one.has(path));
            ("executable", end.executable.as_ref().map(is))
        });
        let later = [gid, executable].into_iter().flatten();
        let mut answer = Match::Yes;
        for (property, holds) in later {
            match holds {
                Some(true) => {}
                Some(false) => return Match::No(property),
                None => answer = Match::If(property),
            }
        }
        answer
    }
}

fn holds<T>(many: Option<&Many<T>>, is: impl Fn(&T) -> bool) -> bool {
    many.is_none_or(|many| many.any(is))
}

fn contains(ports: Ports, port: u16) -> bool {
    (ports.first..=ports.last).contains(&port)
}
