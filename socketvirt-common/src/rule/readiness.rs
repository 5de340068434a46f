//! The events that poll(2) would report of a socket.

use crate::{
    record::row::{Family, Kind, Protocol, State},
    uapi::{RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK},
};

/// There is something to read.
pub const POLLIN: u32 = 0x1;
/// There is urgent data.
pub const POLLPRI: u32 = 0x2;
/// There is room to write.
pub const POLLOUT: u32 = 0x4;
/// An error waits.
pub const POLLERR: u32 = 0x8;
/// Both directions are over.
pub const POLLHUP: u32 = 0x10;
/// The peer sends nothing more.
pub const POLLRDHUP: u32 = 0x2000;

/// The facts that the answer rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
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
    /// `sk_err` is set, or the error queue is not empty.
    pub error: bool,
    /// Urgent data was received.
    pub urgent: bool,
    /// A connection waits for accept(2).
    pub acceptable: bool,
    /// Bytes that a read finds; for datagrams, not 0 when there is one.
    pub readable: u32,
    /// `SO_RCVLOWAT`.
    pub rcvlowat: u32,
    /// `sk_wmem_queued` of TCP, `sk_wmem_alloc` of the others.
    pub wmem: u32,
    /// `sk_sndbuf`.
    pub sndbuf: u32,
    /// Bytes that TCP has not sent at all yet.
    pub notsent: u32,
    /// `TCP_NOTSENT_LOWAT`, or the namespace's default.
    pub notsent_lowat: u32,
}

/// Returns the events that poll(2) would report when asked for all of them.
#[inline(always)]
#[must_use]
pub const fn events(facts: &Facts) -> u32 {
    match facts.family {
        Family::UNIX => unix(facts),
        _ => match facts.protocol {
            Protocol::TCP => tcp(facts),
            _ => datagram(facts),
        },
    }
}

/// `tcp_poll`, net/ipv4/tcp.c.
#[inline(always)]
const fn tcp(facts: &Facts) -> u32 {
    if matches!(facts.state, State::LISTEN) {
        return if facts.acceptable { POLLIN } else { 0 };
    }
    let mut mask = 0;
    if facts.shutdown == SHUTDOWN_MASK || matches!(facts.state, State::CLOSE) {
        mask |= POLLHUP;
    }
    if facts.shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLIN | POLLRDHUP;
    }
    if !matches!(
        facts.state,
        State::SYN_SENT | State::SYN_RECV | State::NEW_SYN_RECV
    ) {
        let lowat = if facts.rcvlowat == 0 {
            1
        } else {
            facts.rcvlowat
        };
        if facts.readable >= lowat {
            mask |= POLLIN;
        }
        // `sk_stream_is_writeable`: room for a third of what is queued.
        let room = facts.sndbuf as i64 - facts.wmem as i64;
        if facts.shutdown & SEND_SHUTDOWN != 0
            || room >= (facts.wmem >> 1) as i64 && facts.notsent < facts.notsent_lowat
        {
            mask |= POLLOUT;
        }
        if facts.urgent {
            mask |= POLLPRI;
        }
    }
    if facts.error {
        mask |= POLLERR;
    }
    mask
}

/// `datagram_poll`, net/core/datagram.c.
#[inline(always)]
const fn datagram(facts: &Facts) -> u32 {
    let mut mask = common(facts);
    if facts.wmem < facts.sndbuf >> 1 {
        mask |= POLLOUT;
    }
    mask
}

/// `unix_poll` and `unix_dgram_poll`, `net/unix/af_unix.c`.
#[inline(always)]
const fn unix(facts: &Facts) -> u32 {
    let mut mask = common(facts);
    if matches!(facts.state, State::LISTEN) && facts.acceptable {
        mask |= POLLIN;
    }
    if !matches!(facts.kind, Kind::DGRAM) && matches!(facts.state, State::CLOSE) {
        mask |= POLLHUP;
    }
    if !matches!(facts.state, State::LISTEN) && (facts.wmem as u64) << 2 <= facts.sndbuf as u64 {
        mask |= POLLOUT;
    }
    mask
}

#[inline(always)]
const fn common(facts: &Facts) -> u32 {
    let mut mask = 0;
    if facts.error {
        mask |= POLLERR;
    }
    if facts.shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLIN | POLLRDHUP;
    }
    if facts.shutdown == SHUTDOWN_MASK {
        mask |= POLLHUP;
    }
    if facts.readable > 0 {
        mask |= POLLIN;
    }
    mask
}
