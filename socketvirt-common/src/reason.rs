//! Reasons for which a socket is on the stack.

/// The reason for which a socket, or one message of it, was left on plain TCP.
///
/// The names are shown by `bpftool` and, in snake case, in the summary.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing speaks against the fast path.
    #[default]
    None = 0,
    /// The other end is not a socket that was seen on this host.
    PeerNotHere = 1,
    /// The socket proved nothing: its connection ended early, was hardly used,
    /// or its peer is not on this host.
    TooShort = 2,
    /// Too few requests and responses to gain from the fast path.
    NotWorth = 3,
    /// Large or one-way transfers, which the stack carries better.
    Bulk = 4,
    /// The file is in blocking mode: a reader asleep in the kernel would not
    /// see redirected bytes.
    Blocking = 5,
    /// A reader sleeps in the kernel.
    ReaderAsleep = 6,
    /// Bytes of the stack are not read yet.
    Unread = 7,
    /// `SO_RCVLOWAT` above 1, which a redirect ignores.
    Rcvlowat = 8,
    /// `SO_ZEROCOPY` is set; its completions would never come.
    ZeroCopy = 9,
    /// `SO_TIMESTAMP` or the like is set; redirected bytes have none.
    Timestamp = 10,
    /// An upper layer protocol (kTLS) owns the socket.
    Ulp = 11,
    /// A subflow of Multipath TCP.
    Mptcp = 12,
    /// Urgent data was received, or asked for.
    Urgent = 13,
    /// `SO_PEEK_OFF` is set, which a redirect ignores.
    PeekOffset = 14,
    /// `TCP_INQ` is set, which a redirect does not report.
    Inq = 15,
    /// Another program has put the socket into a map of its own, or the program
    /// that reads it has a map that it may put it into.
    Foreign = 16,
    /// The socket is closing.
    Closing = 17,
    /// The receiver's queue is at its limit.
    QueueFull = 18,
    /// Bytes of the stack are still on their way to the reader.
    NotDrained = 19,
    /// The other end is not enrolled.
    PeerNotEnrolled = 20,
    /// The reader has not come back since its socket was enrolled.
    ReaderNotProved = 21,
    /// The agent is leaving.
    Draining = 22,
    /// Not accepted yet, or closed: there is no file.
    NoFile = 23,
    /// No receive mode of this kernel passed the self-test.
    TableOnly = 24,
    /// A map is full.
    MapFull = 25,
    /// The kernel refused the enrolment.
    Refused = 26,
    /// splice(2) was called on the socket; it gets nothing out of an enrolled
    /// one.
    Splice = 27,
    /// The socket that agrees on the handshake id has not shown that it gets
    /// this socket's packets: see [`Witness`](crate::record::pair::Witness).
    PeerNotProved = 28,
    /// Another connection has the same handshake id and came first.
    IdTaken = 29,
    /// The program wants signals of the socket (`F_SETOWN`, `O_ASYNC`): a
    /// sign that it uses urgent data, which a redirect delivers in line.
    SignalDriven = 30,
    /// The program receives with `MSG_WAITALL`, which ends early on an
    /// enrolled socket.
    WaitAll = 31,
    /// The server has closed a socket with redirected bytes unread, where plain
    /// TCP would have reset the connection.
    ClosedUnread = 32,
    /// The program that reads the socket, or one of its cgroup (eager mode), can
    /// call splice(2), by its executable or a library.
    MaySplice = 33,
    /// Memory may not be had: the socket's cgroup has a limit for sockets, or
    /// the host's memory for TCP is short.
    MemoryLimit = 34,
    /// The program discards what it receives (`MSG_TRUNC`); an enrolled socket
    /// copies it, or fails without a buffer.
    Discards = 35,
    /// Sent with `MSG_MORE`: the stack holds it back until more comes.
    More = 36,
    /// The program that reads the socket was not looked at yet, or one that has
    /// begun in its cgroup (eager mode). It may be one that splices.
    NotLooked = 37,
    /// A socket filter (`SO_ATTACH_FILTER`, `SO_ATTACH_BPF`) decides what the
    /// socket gets; it sees no redirected bytes.
    Filtered = 38,
    /// `SO_MAX_PACING_RATE` is set, which a redirect does not keep to.
    Paced = 39,
    /// The socket is mapped into memory, to receive by `TCP_ZEROCOPY_RECEIVE`,
    /// which finds no redirected bytes.
    Mapped = 40,
    /// The socket is the kernel's own (NFS, iSCSI, ...), which sets callbacks of
    /// its own on it.
    Kernel = 41,
    /// A program of the socket's cgroup has an `io_uring`, by which it could send
    /// without a copy; a socket that was ever enrolled refuses that.
    Ring = 42,
    /// The agent cannot look at the program that reads the socket, or cannot
    /// enter its network namespace. It lacks a capability (`CAP_SYS_PTRACE`),
    /// or lives in a pid namespace of its own.
    Unseen = 43,
    /// The pair was released a moment ago, or the kernel has not done with the
    /// socket's last enrolment yet.
    TooSoon = 44,
}

/// Number of [`Reason`]s: the length of arrays indexed by one.
pub const REASONS: usize = 45;

impl Reason {
    /// Returns the reason with this number, if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u32) -> Self {
        if (number as usize) < REASONS {
            // SAFETY: reasons are numbered without gaps, which a test holds.
            unsafe { core::mem::transmute::<u32, Self>(number) }
        } else {
            Self::None
        }
    }
}

#[cfg(feature = "user")]
impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; REASONS] = [
        Self::None,
        Self::PeerNotHere,
        Self::TooShort,
        Self::NotWorth,
        Self::Bulk,
        Self::Blocking,
        Self::ReaderAsleep,
        Self::Unread,
        Self::Rcvlowat,
        Self::ZeroCopy,
        Self::Timestamp,
        Self::Ulp,
        Self::Mptcp,
        Self::Urgent,
        Self::PeekOffset,
        Self::Inq,
        Self::Foreign,
        Self::Closing,
        Self::QueueFull,
        Self::NotDrained,
        Self::PeerNotEnrolled,
        Self::ReaderNotProved,
        Self::Draining,
        Self::NoFile,
        Self::TableOnly,
        Self::MapFull,
        Self::Refused,
        Self::Splice,
        Self::PeerNotProved,
        Self::IdTaken,
        Self::SignalDriven,
        Self::WaitAll,
        Self::ClosedUnread,
        Self::MaySplice,
        Self::MemoryLimit,
        Self::Discards,
        Self::More,
        Self::NotLooked,
        Self::Filtered,
        Self::Paced,
        Self::Mapped,
        Self::Kernel,
        Self::Ring,
        Self::Unseen,
        Self::TooSoon,
    ];

    /// Returns the word for this reason in the summary and the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PeerNotHere => "peer_not_here",
            Self::TooShort => "too_short",
            Self::NotWorth => "not_worth",
            Self::Bulk => "bulk",
            Self::Blocking => "blocking",
            Self::ReaderAsleep => "reader_asleep",
            Self::Unread => "unread",
            Self::Rcvlowat => "rcvlowat",
            Self::ZeroCopy => "zero_copy",
            Self::Timestamp => "timestamp",
            Self::Ulp => "ulp",
            Self::Mptcp => "mptcp",
            Self::Urgent => "urgent",
            Self::PeekOffset => "peek_offset",
            Self::Inq => "inq",
            Self::Foreign => "foreign",
            Self::Closing => "closing",
            Self::QueueFull => "queue_full",
            Self::NotDrained => "not_drained",
            Self::PeerNotEnrolled => "peer_not_enrolled",
            Self::ReaderNotProved => "reader_not_proved",
            Self::Draining => "draining",
            Self::NoFile => "no_file",
            Self::TableOnly => "table_only",
            Self::MapFull => "map_full",
            Self::Refused => "refused",
            Self::Splice => "splice",
            Self::PeerNotProved => "peer_not_proved",
            Self::IdTaken => "id_taken",
            Self::SignalDriven => "signal_driven",
            Self::WaitAll => "wait_all",
            Self::ClosedUnread => "closed_unread",
            Self::MaySplice => "may_splice",
            Self::MemoryLimit => "memory_limit",
            Self::Discards => "discards",
            Self::More => "more",
            Self::NotLooked => "not_looked",
            Self::Filtered => "filtered",
            Self::Paced => "paced",
            Self::Mapped => "mapped",
            Self::Kernel => "kernel",
            Self::Ring => "ring",
            Self::Unseen => "unseen",
            Self::TooSoon => "too_soon",
        }
    }
}
