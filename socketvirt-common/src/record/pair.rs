//! Pairs: the two ends of one connection on this host.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::reason::Reason;

/// Names a connection by the initial sequence numbers that both its ends agree
/// on. Each is the number of the first byte that an end will send.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct HandshakeId {
    /// The first sequence number of the client's data.
    pub client_seq: u32,
    /// The first sequence number of the server's data.
    pub server_seq: u32,
}

/// The initial sequence numbers, as one end can still tell them in mid-life
/// without having seen the handshake.
///
/// `tcp_sock` counts what was acknowledged and received since the beginning.
/// Subtracting that gives the numbers of the beginning. The end that called
/// connect(2) has its SYN among what was acknowledged. So its own number is
/// that of the SYN, one less than that of its first byte. Nothing tells that
/// end from the other, so a peer is looked for under both assumptions.
/// (`tcp_snd_una_update`, `tcp_rcv_nxt_update` in `net/ipv4/tcp_input.c`.)
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes)]
pub struct Sequences {
    /// `snd_una - bytes_acked`.
    pub own: u32,
    /// `rcv_nxt - bytes_received`: the peer's first byte.
    pub peer: u32,
}

impl Sequences {
    /// Computes them from the fields of a connection that has not been shut
    /// down.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sequence numbers count modulo 2^32"
    )]
    pub const fn new(snd_una: u32, bytes_acked: u64, rcv_nxt: u32, bytes_received: u64) -> Self {
        Self {
            own: snd_una.wrapping_sub(bytes_acked as u32),
            peer: rcv_nxt.wrapping_sub(bytes_received as u32),
        }
    }

    /// Returns what the peer tells, if this end is on `side`.
    #[inline(always)]
    #[must_use]
    pub const fn seen_by_peer(self, side: Side) -> Self {
        match side {
            Side::Client => Self {
                own: self.peer,
                peer: self.own.wrapping_add(1),
            },
            Side::Server => Self {
                own: self.peer.wrapping_sub(1),
                peer: self.own,
            },
        }
    }

    /// Returns the handshake id, if this end is on `side`.
    #[inline(always)]
    #[must_use]
    pub const fn id(self, side: Side) -> HandshakeId {
        match side {
            Side::Client => HandshakeId {
                client_seq: self.own.wrapping_add(1),
                server_seq: self.peer,
            },
            Side::Server => HandshakeId {
                client_seq: self.peer,
                server_seq: self.own,
            },
        }
    }
}

/// Tells that two sockets exchange packets with each other, by the packets'
/// hashes.
///
/// A socket draws a random number for its packets (`sk_set_txhash`,
/// include/net/sock.h). Each packet carries it (`__tcp_transmit_skb`). The
/// receiver keeps that of the last one (`sock_rps_save_rxhash`). Loopback,
/// veth, bridges and address translation leave it alone.
///
/// The handshake id alone is not enough. Initial sequence numbers are a hash of
/// the addresses plus a clock (`secure_tcp_seq`). Two connections with the same
/// addresses in two namespaces, begun at the same moment, have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHash {
    /// `sk_txhash`, which the socket's packets carry; 0 before the first.
    pub sent: u32,
    /// `sk_rxhash`, which the packet that came last carried; 0 when it carried
    /// none.
    pub received: u32,
}

impl PacketHash {
    /// True when one of the two has received the other's packets.
    ///
    /// One direction is enough, as both numbers are random. The other may not
    /// tell: a server that has only been greeted has kept no hash yet, and a
    /// sender draws a new one when it sends again (`sk_rethink_txhash`).
    #[inline(always)]
    #[must_use]
    pub const fn agrees(self, peer: Self) -> bool {
        self.sent != 0 && self.sent == peer.received || peer.sent != 0 && peer.sent == self.received
    }
}

/// The end of the connection that a socket is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromZeros, Immutable, IntoBytes)]
pub enum Side {
    /// The end that called connect(2).
    #[default]
    Client = 0,
    /// The end that accept(2) returns.
    Server = 1,
}

/// The enrolment of a socket in the SOCKHASH.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Enrolment {
    /// Not enrolled: a plain TCP socket.
    #[default]
    None = 0,
    /// Enrolled in mid-life, after it had proved suitable.
    Adopted = 1,
    /// Enrolled at the handshake.
    Eager = 2,
    /// Still enrolled, no longer redirecting, about to leave.
    Leaving = 3,
}

/// Key of an end in `sv_pairs`.
///
/// Each end is an entry of its own. It is made, written and deleted only under
/// the lock of its own socket, so no program can write into an entry that
/// another one has freed. A pair is the two entries with the same id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromZeros, Immutable, IntoBytes)]
pub struct EndKey {
    /// The connection.
    pub id: HandshakeId,
    /// The end of it.
    pub side: Side,
}

/// One end of a connection, as the programs of the other end read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct End {
    /// Socket cookie.
    pub cookie: u64,
    /// Address of the socket in the kernel; valid only while the socket there
    /// has this cookie.
    pub sock: u64,
    /// Address of the socket's flow in the kernel.
    pub flow: u64,
    /// `copied_seq` when it was enrolled.
    pub enrolled_copied_seq: u32,
    /// The enrolment of this end.
    pub enrolment: Enrolment,
    /// The pair's place among the watched ones; [`crate::record::watch::NOWHERE`] while
    /// it has none.
    pub place: u32,
    /// The reason for which this end, or the pair, shall leave; `None` while it
    /// shall stay.
    pub leave: Reason,
}

impl End {
    /// True when this is an end at all. Absence is a cookie of 0, because the
    /// verifier cannot follow the fields of an absent `Option`.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.cookie != 0
    }
}

impl Side {
    /// Returns the side of the end that a number names: a place, doubled, and 1
    /// more for a server.
    #[inline(always)]
    #[must_use]
    pub const fn of(known: u32) -> Self {
        if known & 1 == 0 {
            Self::Client
        } else {
            Self::Server
        }
    }

    /// Returns the side of the peer.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Enrolment {
    /// True when the socket is enrolled and may send and receive by redirect.
    #[inline(always)]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Adopted | Self::Eager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_names_both_sockets() {
        let hash = |sent, received| PacketHash { sent, received };
        assert!(hash(1, 2).agrees(hash(2, 1)));
        // The client of one connection and the server of its twin.
        assert!(!hash(1, 2).agrees(hash(4, 3)));
        // The server has received nothing yet, the client its greeting.
        assert!(hash(1, 2).agrees(hash(2, 0)));
        // One has drawn another hash since it sent last.
        assert!(hash(1, 2).agrees(hash(3, 1)));
        // Nothing was received yet, or it carried no hash.
        assert!(!hash(1, 0).agrees(hash(2, 0)));
        assert!(!hash(0, 0).agrees(hash(0, 0)));
    }
}
