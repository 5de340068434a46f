//! The rule that derives the status of a socket from what the kernel knows of
//! it.

use crate::{
    record::{
        row::{Family, Kind, Protocol, State},
        status::Status,
    },
    uapi::{RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK},
};

/// All that was observed of a socket, as far as its status rests on it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "bits of the kernel that are independent of each other"
)]
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// `sk_family`.
    pub family: Family,
    /// `sk_type`.
    pub kind: Kind,
    /// `sk_protocol`.
    pub protocol: Protocol,
    /// `sk_state`.
    pub state: State,
    /// `sk_shutdown`.
    pub shutdown: u32,
    /// `sk_err` is set.
    pub error: bool,
    /// It has an own port or, for Unix sockets, an own name.
    pub bound: bool,
    /// A file or an accept queue still has it.
    pub held: bool,
    /// Its peer is gone (Unix sockets).
    pub peer_dead: bool,
    /// Bytes wait to be sent.
    pub sending: bool,
    /// Bytes wait to be read, or a reader waits.
    pub receiving: bool,
}

/// Returns the status of a socket.
#[inline(always)]
#[must_use]
pub const fn status(seen: &Observed) -> Status {
    match seen.family {
        Family::UNIX => unix(seen),
        _ => match seen.protocol {
            Protocol::TCP | Protocol::MPTCP => tcp(seen),
            _ => datagram(seen),
        },
    }
}

#[inline(always)]
const fn flowing(seen: &Observed) -> Status {
    if seen.sending {
        Status::SENDING
    } else if seen.receiving {
        Status::RECEIVING
    } else {
        Status::CONNECTED
    }
}

#[inline(always)]
const fn idle(seen: &Observed) -> Status {
    if seen.bound {
        Status::BOUND
    } else {
        Status::UNCONNECTED
    }
}

#[inline(always)]
const fn tcp(seen: &Observed) -> Status {
    match seen.state {
        State::LISTEN => Status::LISTENING,
        State::SYN_SENT | State::SYN_RECV | State::NEW_SYN_RECV => Status::CONNECTING,
        // Both shutdown bits without a file is close(2), which sets them too.
        State::ESTABLISHED if !seen.held => Status::TERMINATED,
        State::ESTABLISHED if seen.shutdown & SEND_SHUTDOWN != 0 => Status::SHUTDOWN,
        State::ESTABLISHED if seen.shutdown & RCV_SHUTDOWN != 0 => Status::SHUTDOWN,
        State::ESTABLISHED => flowing(seen),
        State::CLOSE_WAIT if seen.held => Status::DISCONNECTED,
        State::FIN_WAIT1 | State::FIN_WAIT2 | State::CLOSING | State::LAST_ACK if seen.held => {
            Status::SHUTDOWN
        }
        // `tcp_done` sets both bits, `tcp_disconnect` clears them again.
        State::CLOSE if seen.held && (seen.error || seen.shutdown == SHUTDOWN_MASK) => {
            Status::DISCONNECTED
        }
        State::CLOSE if seen.held => idle(seen),
        _ => Status::TERMINATED,
    }
}

#[inline(always)]
const fn datagram(seen: &Observed) -> Status {
    if !seen.held {
        return Status::TERMINATED;
    }
    match seen.state {
        State::ESTABLISHED if seen.shutdown & SEND_SHUTDOWN != 0 => Status::SHUTDOWN,
        State::ESTABLISHED => flowing(seen),
        _ if seen.shutdown & SEND_SHUTDOWN != 0 => Status::SHUTDOWN,
        _ => idle(seen),
    }
}

#[inline(always)]
const fn unix(seen: &Observed) -> Status {
    if !seen.held {
        return Status::TERMINATED;
    }
    match seen.state {
        State::LISTEN => Status::LISTENING,
        // A shutdown sets the mirrored bit at the other end. So a bit for
        // receiving alone is taken for the other end's.
        State::ESTABLISHED if seen.peer_dead => Status::DISCONNECTED,
        State::ESTABLISHED if seen.shutdown & SEND_SHUTDOWN != 0 => Status::SHUTDOWN,
        State::ESTABLISHED if seen.shutdown & RCV_SHUTDOWN != 0 => Status::DISCONNECTED,
        State::ESTABLISHED => flowing(seen),
        _ if seen.peer_dead || seen.error => Status::DISCONNECTED,
        _ => idle(seen),
    }
}
