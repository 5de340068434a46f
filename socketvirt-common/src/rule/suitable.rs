//! Suitability: which sockets may be enrolled at all.
//!
//! A socket in a SOCKHASH already behaves differently. So a socket is enrolled
//! only when its program can see none of the differences.

use crate::{reason::Reason, record::config::ReceiveMode, uapi::TCP_ESTABLISHED};

/// A socket that may be enrolled: all that counts before, read under its lock.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of the kernel, there is no state machine behind them"
)]
pub struct Candidate {
    /// `sk_state`.
    pub state: u8,
    /// `sk_shutdown`: not 0 once either direction was shut down.
    pub shutdown: u8,
    /// `SO_RCVLOWAT` in bytes.
    pub rcvlowat: i32,
    /// `SO_PEEK_OFF`; negative when off.
    pub peek_off: i32,
    /// `SO_ZEROCOPY` is set.
    pub zero_copy: bool,
    /// A receive time stamp option is set.
    pub timestamp: bool,
    /// `TCP_INQ` is set.
    pub inq: bool,
    /// An upper layer protocol is attached.
    pub ulp: bool,
    /// The socket is a subflow of Multipath TCP.
    pub mptcp: bool,
    /// Urgent data has come at any time.
    pub urgent: bool,
    /// The file has an owner for `SIGIO` and `SIGURG`.
    pub signals: bool,
    /// A socket filter is attached.
    pub filtered: bool,
    /// `SO_MAX_PACING_RATE` is set.
    pub paced: bool,
    /// The socket is mapped into memory.
    pub mapped: bool,
    /// Its memory is charged to a cgroup with a limit for sockets.
    pub charged: bool,
    /// `sk_user_data` is in use: another map or protocol owns the socket.
    pub foreign: bool,
}

/// The program's way of reading, which counts only in mid-life.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// There is a file: accepted, and not closed.
    pub has_file: bool,
    /// `O_NONBLOCK` is set on the file.
    pub nonblocking: bool,
    /// Somebody other than epoll, poll or select waits on the socket.
    pub reader_asleep: bool,
    /// The bytes that have arrived and were not read yet.
    pub unread: Unread,
}

/// The bytes that a socket has received and its program has not read.
#[derive(Clone, Copy, Debug)]
pub struct Unread {
    /// `rcv_nxt - copied_seq`.
    pub bytes: u32,
    /// Packets in `sk_receive_queue`.
    pub packets: u32,
    /// The first packet begins with the next byte that will be read: nothing
    /// of it was read.
    pub whole: bool,
    /// A call of the program on the socket has begun.
    pub in_call: bool,
}

impl Unread {
    /// Nothing has arrived that was not read.
    pub const NOTHING: Self = Self {
        bytes: 0,
        packets: 0,
        whole: false,
        in_call: false,
    };

    /// True when the socket may be enrolled with this.
    ///
    /// In unified mode the kernel moves whole packets from the one queue to the
    /// other. Two things would show:
    /// - The read part of a packet must be cut off, for which the kernel needs
    ///   memory. Without memory the bytes would be lost.
    /// - A receive call that has begun looks at the old queue alone, and would
    ///   answer `EAGAIN` with bytes there.
    #[inline(always)]
    #[must_use]
    pub const fn may_move(&self, mode: ReceiveMode) -> bool {
        if self.bytes == 0 && self.packets == 0 {
            return true;
        }
        matches!(mode, ReceiveMode::Unified)
            && self.bytes > 0
            && self.packets > 0
            && self.whole
            && !self.in_call
    }
}

/// Returns why a socket may not be enrolled, whenever that is; [`Reason::None`]
/// when it may.
#[inline(always)]
#[must_use]
pub const fn unsuitable(candidate: &Candidate) -> Reason {
    if candidate.state != TCP_ESTABLISHED || candidate.shutdown != 0 {
        Reason::Closing
    } else if candidate.ulp {
        Reason::Ulp
    } else if candidate.mptcp {
        Reason::Mptcp
    } else if candidate.foreign {
        Reason::Foreign
    } else if candidate.rcvlowat > 1 {
        Reason::Rcvlowat
    } else if candidate.zero_copy {
        Reason::ZeroCopy
    } else if candidate.timestamp {
        Reason::Timestamp
    } else if candidate.inq {
        Reason::Inq
    } else if candidate.urgent {
        Reason::Urgent
    } else if candidate.peek_off >= 0 {
        Reason::PeekOffset
    } else if candidate.signals {
        Reason::SignalDriven
    } else if candidate.filtered {
        Reason::Filtered
    } else if candidate.paced {
        Reason::Paced
    } else if candidate.mapped {
        Reason::Mapped
    } else if candidate.charged {
        Reason::MemoryLimit
    } else {
        Reason::None
    }
}

/// Returns why a socket may not be adopted now, in mid-life; [`Reason::None`]
/// when it may, as far as its way of reading goes.
///
/// In unified mode the unread bytes join the redirected ones, in one queue. In
/// the other mode they would be overtaken.
#[inline(always)]
#[must_use]
pub const fn unadoptable(reading: &Reading, mode: ReceiveMode) -> Reason {
    if !reading.has_file {
        Reason::NoFile
    } else if !reading.nonblocking {
        Reason::Blocking
    } else if reading.reader_asleep {
        Reason::ReaderAsleep
    } else if !reading.unread.may_move(mode) {
        Reason::Unread
    } else {
        Reason::None
    }
}
