//! Room for one socket, while its row is made.

use socketvirt_common::record::row::{Family, Kind, Protocol, Row, State};

/// More than a `tcp_sock`, the largest, of any kernel so far.
pub const SNAPSHOT: usize = 4096;

/// Room for one socket at work. One reader at a time: each loaded object has
/// one thread that iterates.
#[repr(C)]
pub struct Scratch {
    /// The copy.
    pub bytes: [u8; SNAPSHOT],
    /// Its kind.
    pub identity: Identity,
    /// The row made from it.
    pub row: Row,
}

/// The kind of socket that is copied, told by a few single reads before.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Identity {
    pub family: Family,
    pub kind: Kind,
    pub protocol: Protocol,
    pub state: State,
}
