//! Records that the iterators write to their reader.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::{
    flow::{Path, Traffic},
    pair::{Enrolment, HandshakeId, Side},
    row::COMMAND_TEXT,
    text::Text,
};
use crate::reason::Reason;

/// The kind of a record: the number that begins it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A [`crate::record::row::Row`] follows.
    Row = 1,
    /// A [`Holder`] follows.
    Holder = 2,
    /// A [`Joined`] follows.
    Joined = 3,
    /// The id of a socket that found no room in the map.
    Missing = 4,
}

/// Begins a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct Header {
    /// A [`Tag`].
    pub tag: u32,
    /// Bytes that follow.
    pub size: u32,
}

/// A process that has a socket open.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct Holder {
    /// The socket.
    pub id: u64,
    /// The process.
    pub pid: u32,
    /// The descriptor.
    pub fd: u32,
    /// Its name.
    pub command: Text<COMMAND_TEXT>,
}

/// A socket, as an agent knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
pub struct Joined {
    /// The socket.
    pub id: u64,
    /// The other end, 0 when it is not known.
    pub peer: u64,
    /// The connection.
    pub handshake: HandshakeId,
    /// The end of it.
    pub side: Side,
    /// The path of the last message.
    pub path: Path,
    /// The reason that it is not fast.
    pub reason: Reason,
    /// The socket's enrolment.
    pub enrolment: Enrolment,
    /// Bytes and messages by path.
    pub traffic: Traffic,
}
