//! The words of the table for what the programs keep as numbers.

use socketvirt_common::{
    record::{
        flow::Path,
        pair::Enrolment,
        row::{Family, Kind, Protocol, Row, State},
        status::{STATUSES, Status},
    },
    rule::readiness::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP},
};

/// The word for a value.
pub trait Word {
    /// The word.
    fn word(&self) -> &'static str;
}

impl Word for Status {
    fn word(&self) -> &'static str {
        ALL_STATUSES[*self as usize]
    }
}

/// The words for all statuses, in the order of a life.
pub const ALL_STATUSES: [&str; STATUSES] = [
    "UNCONNECTED",
    "BOUND",
    "LISTENING",
    "CONNECTING",
    "CONNECTED",
    "SENDING",
    "RECEIVING",
    "DISCONNECTED",
    "SHUTDOWN",
    "TERMINATED",
];

impl Word for Family {
    fn word(&self) -> &'static str {
        match self {
            Self::OTHER => "other",
            Self::UNIX => "unix",
            Self::INET => "inet",
            Self::INET6 => "inet6",
        }
    }
}

impl Word for Kind {
    fn word(&self) -> &'static str {
        match self {
            Self::OTHER => "other",
            Self::STREAM => "stream",
            Self::DGRAM => "dgram",
            Self::RAW => "raw",
            Self::SEQPACKET => "seqpacket",
        }
    }
}

impl Word for Protocol {
    fn word(&self) -> &'static str {
        match self {
            Self::NONE => "none",
            Self::TCP => "tcp",
            Self::UDP => "udp",
            Self::UDPLITE => "udplite",
            Self::MPTCP => "mptcp",
            Self::OTHER => "other",
        }
    }
}

impl Word for State {
    fn word(&self) -> &'static str {
        match self {
            Self::UNKNOWN => "UNKNOWN",
            Self::ESTABLISHED => "ESTABLISHED",
            Self::SYN_SENT => "SYN_SENT",
            Self::SYN_RECV | Self::NEW_SYN_RECV => "SYN_RECV",
            Self::FIN_WAIT1 => "FIN_WAIT1",
            Self::FIN_WAIT2 => "FIN_WAIT2",
            Self::TIME_WAIT => "TIME_WAIT",
            Self::CLOSE => "CLOSE",
            Self::CLOSE_WAIT => "CLOSE_WAIT",
            Self::LAST_ACK => "LAST_ACK",
            Self::LISTEN => "LISTEN",
            Self::CLOSING => "CLOSING",
        }
    }
}

impl Word for Path {
    fn word(&self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Fast => "fast",
            Self::Kept => "kept",
        }
    }
}

impl Word for Enrolment {
    fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Adopted => "adopted",
            Self::Eager => "eager",
            Self::Leaving => "leaving",
        }
    }
}

/// Returns the events that poll(2) would report, as words.
#[must_use]
pub fn events(events: u32) -> Vec<&'static str> {
    [
        (POLLIN, "readable"),
        (POLLPRI, "urgent"),
        (POLLOUT, "writable"),
        (POLLERR, "error"),
        (POLLHUP, "hang-up"),
        (POLLRDHUP, "peer-closed"),
    ]
    .into_iter()
    .filter(|(bit, _)| events & bit != 0)
    .map(|(_, word)| word)
    .collect()
}

/// Text up to its end.
#[must_use]
pub fn text(bytes: &[i8]) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| byte.cast_unsigned())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the socket's kind, as `ss` calls it: `tcp`, `udp`, `u_str`.
#[must_use]
pub fn short_kind(row: &Row) -> &'static str {
    match (row.local.family, row.local.kind, row.local.protocol) {
        (Family::UNIX, Kind::STREAM, _) => "u_str",
        (Family::UNIX, Kind::DGRAM, _) => "u_dgr",
        (Family::UNIX, Kind::SEQPACKET, _) => "u_seq",
        (_, _, protocol) => protocol.word(),
    }
}

/// An address as Rust writes it, which shortens; a name as it is.
#[must_use]
pub fn address(bytes: &[i8]) -> String {
    let text = text(bytes);
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => text,
    }
}
