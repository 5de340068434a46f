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

/// A socket that is polled, as far as the answer rests on it.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
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
pub const fn events(polled: &Polled) -> u32 {
    match polled.family {
        Family::UNIX => unix(polled),
        _ => match polled.protocol {
            Protocol::TCP => tcp(polled),
            _ => datagram(polled),
        },
    }
}

/// `tcp_poll`, net/ipv4/tcp.c.
#[inline(always)]
const fn tcp(polled: &Polled) -> u32 {
    if matches!(polled.state, State::LISTEN) {
        return if polled.acceptable { POLLIN } else { 0 };
    }
    let mut mask = 0;
    if polled.shutdown == SHUTDOWN_MASK || matches!(polled.state, State::CLOSE) {
        mask |= POLLHUP;
    }
    if polled.shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLIN | POLLRDHUP;
    }
    if !matches!(
        polled.state,
        State::SYN_SENT | State::SYN_RECV | State::NEW_SYN_RECV
    ) {
        let lowat = if polled.rcvlowat == 0 {
            1
        } else {
            polled.rcvlowat
        };
        if polled.readable >= lowat {
            mask |= POLLIN;
        }
        // `sk_stream_is_writeable`: room for a third of what is queued.
        let room = polled.sndbuf as i64 - polled.wmem as i64;
        if polled.shutdown & SEND_SHUTDOWN != 0
            || room >= (polled.wmem >> 1) as i64 && polled.notsent < polled.notsent_lowat
        {
            mask |= POLLOUT;
        }
        if polled.urgent {
            mask |= POLLPRI;
        }
    }
    if polled.error {
        mask |= POLLERR;
    }
    mask
}

/// `datagram_poll`, net/core/datagram.c.
#[inline(always)]
const fn datagram(polled: &Polled) -> u32 {
    let mut mask = common(polled);
    if polled.wmem < polled.sndbuf >> 1 {
        mask |= POLLOUT;
    }
    mask
}

/// `unix_poll` and `unix_dgram_poll`, `net/unix/af_unix.c`.
#[inline(always)]
const fn unix(polled: &Polled) -> u32 {
    let mut mask = common(polled);
    if matches!(polled.state, State::LISTEN) && polled.acceptable {
        mask |= POLLIN;
    }
    if !matches!(polled.kind, Kind::DGRAM) && matches!(polled.state, State::CLOSE) {
        mask |= POLLHUP;
    }
    if !matches!(polled.state, State::LISTEN) && (polled.wmem as u64) << 2 <= polled.sndbuf as u64 {
        mask |= POLLOUT;
    }
    mask
}

#[inline(always)]
const fn common(polled: &Polled) -> u32 {
    let mut mask = 0;
    if polled.error {
        mask |= POLLERR;
    }
    if polled.shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLIN | POLLRDHUP;
    }
    if polled.shutdown == SHUTDOWN_MASK {
        mask |= POLLHUP;
    }
    if polled.readable > 0 {
        mask |= POLLIN;
    }
    mask
}
