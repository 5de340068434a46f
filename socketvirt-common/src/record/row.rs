//! Rows of the socket table: what is known of one socket.
//!
//! `bpftool map dump` prints the names of fields and of the values of
//! enumerations. So they are words of an operator, and not of the kernel's
//! source.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::{
    flow::{Path, Traffic},
    options::SocketOptions,
    pair::{Enrolment, HandshakeId},
    status::{History, Status},
    text::Text,
};
use crate::{reason::Reason, uapi::AF_INET};

/// Bytes of an address as text: those of a path of a Unix socket
/// (`sun_path`), which are the most, and an end.
pub const ADDRESS_TEXT: usize = 112;

/// The place in an address of the length of a name that is not in the file
/// system, which may hold zero bytes. The length is 0 for all other addresses.
/// `@` stands for the zero byte that such a name begins with.
pub const NAME_LENGTH: usize = ADDRESS_TEXT - 1;

/// Bytes of a command's name, `TASK_COMM_LEN`.
pub const COMMAND_TEXT: usize = 16;

/// The kind of address.
#[repr(u32)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromZeros, Immutable, IntoBytes,
)]
pub enum Family {
    /// Another one than those below.
    #[default]
    OTHER = 0,
    /// `AF_UNIX`.
    UNIX = 1,
    /// `AF_INET`: IPv4.
    INET = AF_INET as u32,
    /// `AF_INET6`: IPv6, and IPv4 mapped into it.
    INET6 = 10,
}

/// The way in which data is exchanged.
#[repr(u32)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromZeros, Immutable, IntoBytes,
)]
pub enum Kind {
    /// Another one than those below.
    #[default]
    OTHER = 0,
    /// `SOCK_STREAM`.
    STREAM = 1,
    /// `SOCK_DGRAM`.
    DGRAM = 2,
    /// `SOCK_RAW`.
    RAW = 3,
    /// `SOCK_SEQPACKET`.
    SEQPACKET = 5,
}

/// The protocol that carries the data.
#[repr(u32)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromZeros, Immutable, IntoBytes,
)]
pub enum Protocol {
    /// None: the kernel itself carries it (Unix sockets).
    #[default]
    NONE = 0,
    /// `IPPROTO_TCP`.
    TCP = 6,
    /// `IPPROTO_UDP`.
    UDP = 17,
    /// `IPPROTO_UDPLITE`.
    UDPLITE = 136,
    /// `IPPROTO_MPTCP`.
    MPTCP = 262,
    /// Another one.
    OTHER = 65_535,
}

/// `sk_state`, whose values are those of `include/net/tcp_states.h` for all
/// families.
#[expect(non_camel_case_types, reason = "the words that operators know")]
#[repr(u32)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromZeros, Immutable, IntoBytes,
)]
pub enum State {
    /// No state that is known here.
    #[default]
    UNKNOWN = 0,
    /// Connected.
    ESTABLISHED = 1,
    /// The client has asked.
    SYN_SENT = 2,
    /// The server has answered, the client has not confirmed yet.
    SYN_RECV = 3,
    /// Own end of data sent, not confirmed.
    FIN_WAIT1 = 4,
    /// Own end of data confirmed.
    FIN_WAIT2 = 5,
    /// Over, remembered for late packets.
    TIME_WAIT = 6,
    /// Not connected.
    CLOSE = 7,
    /// The peer's end of data received.
    CLOSE_WAIT = 8,
    /// Both ends of data sent, the own one not confirmed.
    LAST_ACK = 9,
    /// Waits for connections.
    LISTEN = 10,
    /// Both ends have sent their end of data at once.
    CLOSING = 11,
    /// A request for a connection, which is not a socket yet.
    NEW_SYN_RECV = 12,
}

/// The local socket structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
pub struct Local {
    /// The own address. `@` begins a name that is not in the file system.
    pub address: Text<ADDRESS_TEXT>,
    /// The own port, host byte order.
    pub port: u32,
    /// Index of the device that the socket is bound to, 0 for any.
    pub device: u32,
    /// The kind of address.
    pub family: Family,
    /// The way in which data is exchanged.
    pub kind: Kind,
    /// The protocol.
    pub protocol: Protocol,
    /// Inode of the network namespace, as `/proc/<pid>/ns/net` shows it.
    pub netns: u32,
    /// The events that poll(2) would report now: `POLLIN` and so on.
    pub event: u32,
    /// 1 when calls wait, 0 with `O_NONBLOCK` or without a file.
    pub blocking: u32,
}

/// The remote socket structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct Remote {
    /// The address of the other end, as this end sees it.
    pub address: Text<ADDRESS_TEXT>,
    /// The port of the other end, host byte order.
    pub port: u32,
    /// Padding, always 0.
    pub unused: u32,
    /// The id of the other end's row, 0 when it is not known to be here.
    pub id: u64,
}

/// Bytes that wait to be sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct SendQueue {
    /// Payload: for TCP what the peer has not confirmed, otherwise memory.
    pub bytes: u32,
    /// Memory that the queue takes.
    pub memory: u32,
    /// The limit of that memory (`SO_SNDBUF`).
    pub limit: u32,
}

/// Bytes that wait to be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct ReceiveQueue {
    /// Payload that the stack has delivered (memory, for UDP).
    pub bytes: u32,
    /// Payload that was redirected.
    pub redirected: u32,
    /// Memory that both take.
    pub memory: u32,
    /// The limit of that memory (`SO_RCVBUF`).
    pub limit: u32,
}

/// Connections that wait on a listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct ConnectionQueue {
    /// Requests whose handshake is not complete.
    pub half_open: u32,
    /// Connections that wait for accept(2).
    pub waiting: u32,
    /// The most that may wait, listen(2).
    pub limit: u32,
}

/// The owner of the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct Owner {
    /// The id (inode) of the cgroup that the socket was made in.
    pub cgroup: u64,
    /// Inode of the socket's file; 0 without one.
    pub inode: u64,
    /// The user who made it.
    pub uid: u32,
    /// The process that made or accepted it, where that was seen.
    pub pid: u32,
    /// The name of that process.
    pub command: Text<COMMAND_TEXT>,
}

/// The path of what this end sends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct Way {
    /// The path of the last message.
    pub path: Path,
    /// The reason that it is not fast.
    pub reason: Reason,
    /// The socket's enrolment.
    pub enrolment: Enrolment,
    /// Padding, always 0.
    pub unused: u32,
    /// Bytes and messages by path.
    pub traffic: Traffic,
}

/// The marks by which the row of the other end is known. They tell a person
/// nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
pub struct RowTrace {
    /// Address of the socket in the kernel.
    pub sock: u64,
    /// Address of the peer's, for Unix sockets.
    pub peer_sock: u64,
    /// The initial sequence numbers, where the handshake was seen.
    pub handshake: HandshakeId,
    /// `tcp_sock.snd_nxt`: the next byte to be sent.
    pub snd_nxt: u32,
    /// `tcp_sock.rcv_nxt`: the next byte to come.
    pub rcv_nxt: u32,
}

/// One socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
pub struct Row {
    /// The socket cookie.
    pub id: u64,
    /// Its status.
    pub status: Status,
    /// The state of its protocol.
    pub state: State,
    /// This end.
    pub local: Local,
    /// The other end.
    pub remote: Remote,
    /// Bytes that wait to be sent.
    pub send_queue: SendQueue,
    /// Bytes that wait to be read.
    pub receive_queue: ReceiveQueue,
    /// Connections that wait, of a listener.
    pub connection_queue: ConnectionQueue,
    /// `sk_shutdown`: 1 receives nothing more, 2 sends nothing more.
    pub shutdown: u32,
    /// `sk_err`: the error that the next call will return.
    pub error: u32,
    /// 1 when a reader sleeps in the kernel.
    pub reader_waits: u32,
    /// Padding, always 0.
    pub unused: u32,
    /// Its owner.
    pub owner: Owner,
    /// The path of what it sends.
    pub send: Way,
    /// The statuses that it went through.
    pub history: History,
    /// The time at which a hook or a scan saw it last, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub seen: u64,
    /// The marks by which the row of the other end is known.
    pub trace: RowTrace,
    /// The options in force.
    pub options: SocketOptions,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

impl Row {
    /// A row of which nothing is known.
    pub const EMPTY: Self = super::zeroed();

    /// True for the row of a request, or of a connection that is over. There is
    /// no socket with options and queues behind it; a socket always has room to
    /// receive.
    #[inline(always)]
    #[must_use]
    pub const fn is_mini(&self) -> bool {
        self.options.so_rcvbuf == 0
    }
}

impl Family {
    /// Converts the kernel's number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            1 => Self::UNIX,
            2 => Self::INET,
            10 => Self::INET6,
            _ => Self::OTHER,
        }
    }
}

impl Kind {
    /// Converts the kernel's number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            1 => Self::STREAM,
            2 => Self::DGRAM,
            3 => Self::RAW,
            5 => Self::SEQPACKET,
            _ => Self::OTHER,
        }
    }
}

impl Protocol {
    /// Converts the kernel's number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            0 => Self::NONE,
            6 => Self::TCP,
            17 => Self::UDP,
            136 => Self::UDPLITE,
            262 => Self::MPTCP,
            _ => Self::OTHER,
        }
    }
}

impl State {
    /// Converts the kernel's number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            1 => Self::ESTABLISHED,
            2 => Self::SYN_SENT,
            3 => Self::SYN_RECV,
            4 => Self::FIN_WAIT1,
            5 => Self::FIN_WAIT2,
            6 => Self::TIME_WAIT,
            7 => Self::CLOSE,
            8 => Self::CLOSE_WAIT,
            9 => Self::LAST_ACK,
            10 => Self::LISTEN,
            11 => Self::CLOSING,
            12 => Self::NEW_SYN_RECV,
            _ => Self::UNKNOWN,
        }
    }

    /// True for a request, or a connection that is over: there is no socket
    /// behind it.
    #[inline(always)]
    #[must_use]
    pub const fn is_mini(self) -> bool {
        matches!(self, Self::TIME_WAIT | Self::NEW_SYN_RECV)
    }
}
