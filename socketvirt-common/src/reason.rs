//! Reasons for which a socket is on the stack: the one list of them.
//!
//! The enumeration, the words for people, and the table in `docs/socket-table.md`
//! (`cargo xtask docs`) are made of it.

use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Makes the enumeration of a list of reasons. Each has a doc comment, which people
/// are shown too, its number, its word, and what would change it.
macro_rules! reasons {
    ($(
        $(#[doc = $about:literal])+
        $name:ident = $number:tt, $word:literal, $change:literal;
    )+) => {
        /// The reason for which a socket, or one message of it, was left on plain
        /// TCP.
        ///
        /// The names are shown by `bpftool` and, in snake case, in the summary.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromZeros, Immutable, IntoBytes)]
        pub enum Reason {
            $( $(#[doc = $about])+ $name = $number, )+
        }

        impl Default for Reason {
            #[inline(always)]
            fn default() -> Self {
                Self::None
            }
        }

        /// Number of [`Reason`]s: the length of arrays indexed by one.
        pub const REASONS: usize = [$($number),+].len();

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: [Self; REASONS] = [$(Self::$name),+];

            /// Returns the word for this reason in the summary and the table.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            /// Returns what it means, in a sentence or two of Markdown.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $( Self::$name => concat!($($about),+), )+ }.trim_start()
            }

            /// Returns what would change it; empty for [`Reason::None`].
            #[must_use]
            pub const fn change(self) -> &'static str {
                match self { $( Self::$name => $change, )+ }
            }
        }
    };
}

reasons! {
    /// Nothing speaks against the fast path.
    None = 0, "none",
        "";
    /// The other end is not a socket that was seen on this host.
    PeerNotHere = 1, "peer_not_here",
        "Nothing, when the other end is on another host. A connection older than the agent is \
         found by its next walk.";
    /// The socket proved nothing: its connection ended early, was hardly used,
    /// or its peer is not on this host.
    TooShort = 2, "too_short",
        "Keep connections open and use them again.";
    /// Too few requests and responses to gain from the fast path.
    NotWorth = 3, "not_worth",
        "Nothing. It is adopted once requests and responses follow each other.";
    /// Large or one-way transfers, which the stack carries better.
    Bulk = 4, "bulk",
        "Nothing. It is adopted once messages are small and go both ways.";
    /// The file is in blocking mode: a reader asleep in the kernel would not
    /// see redirected bytes.
    Blocking = 5, "blocking",
        "Make the socket non-blocking. Eager mode takes blocking ones, with differences.";
    /// A reader sleeps in the kernel.
    ReaderAsleep = 6, "reader_asleep",
        "It passes. Where it stays with epoll or poll, give the agent `CAP_SYSLOG`.";
    /// Bytes of the stack are not read yet.
    Unread = 7, "unread",
        "It passes once the program has read.";
    /// `SO_RCVLOWAT` above 1, which a redirect ignores.
    Rcvlowat = 8, "rcvlowat",
        "Leave `SO_RCVLOWAT` at 1.";
    /// `SO_ZEROCOPY` is set; its completions would never come.
    ZeroCopy = 9, "zero_copy",
        "Leave `SO_ZEROCOPY` off.";
    /// `SO_TIMESTAMP` or the like is set; redirected bytes have none.
    Timestamp = 10, "timestamp",
        "Leave `SO_TIMESTAMP` and the like off.";
    /// An upper layer protocol (kTLS) owns the socket.
    Ulp = 11, "ulp",
        "Leave kTLS off: encrypt in the program.";
    /// A subflow of Multipath TCP.
    Mptcp = 12, "mptcp",
        "Use plain TCP between ends on this host.";
    /// Urgent data was received, or asked for.
    Urgent = 13, "urgent",
        "Send no urgent data.";
    /// `SO_PEEK_OFF` is set, which a redirect ignores.
    PeekOffset = 14, "peek_offset",
        "Leave `SO_PEEK_OFF` off.";
    /// `TCP_INQ` is set, which a redirect does not report.
    Inq = 15, "inq",
        "Leave `TCP_INQ` off: `FIONREAD` tells the same.";
    /// Another program has put the socket into a map of its own, or the program
    /// that reads it has a map that it may put it into.
    Foreign = 16, "foreign",
        "End the other program, or keep its sockets out.";
    /// The socket is closing.
    Closing = 17, "closing",
        "Nothing: the connection ends.";
    /// The receiver's queue is at its limit.
    QueueFull = 18, "queue_full",
        "It passes once the receiver reads. A larger `SO_RCVBUF` holds more.";
    /// Bytes of the stack are still on their way to the reader.
    NotDrained = 19, "not_drained",
        "It passes once the receiver has read what the stack brought.";
    /// The other end is not enrolled.
    PeerNotEnrolled = 20, "peer_not_enrolled",
        "See the reason of the other end.";
    /// The reader has not come back since its socket was enrolled.
    ReaderNotProved = 21, "reader_not_proved",
        "It passes once the reader has received again.";
    /// The agent is leaving, or is paused.
    Draining = 22, "draining",
        "Start an agent again, in adopt or eager mode; when it is paused, `socketvirt resume`.";
    /// Not accepted yet, or closed: there is no file.
    NoFile = 23, "no_file",
        "It passes once the program has accepted. Sockets of the kernel stay.";
    /// No receive mode of this kernel passed the self-test.
    TableOnly = 24, "table_only",
        "Use a kernel on which `socketvirt doctor` advises acceleration.";
    /// A map is full.
    MapFull = 25, "map_full",
        "It passes once other connections have ended.";
    /// The kernel refused the enrolment.
    Refused = 26, "refused",
        "See the counter `enrol_refused` and the log of the kernel.";
    /// splice(2) was called on the socket; it gets nothing out of an enrolled
    /// one.
    Splice = 27, "splice",
        "Read with recv(2) or read(2), without splice(2).";
    /// The socket that agrees on the handshake id has not shown that it gets
    /// this socket's packets.
    PeerNotProved = 28, "peer_not_proved",
        "It passes once packets have gone both ways.";
    /// Another connection has the same handshake id and came first.
    IdTaken = 29, "id_taken",
        "It passes once the other connection has ended.";
    /// The program wants signals of the socket (`F_SETOWN`, `O_ASYNC`): a
    /// sign that it uses urgent data, which a redirect delivers in line.
    SignalDriven = 30, "signal_driven",
        "Leave `F_SETOWN` and `O_ASYNC` off.";
    /// The program receives with `MSG_WAITALL`, which ends early on an
    /// enrolled socket.
    WaitAll = 31, "wait_all",
        "Receive without `MSG_WAITALL`.";
    /// The server has closed a socket with redirected bytes unread, where plain
    /// TCP would have reset the connection.
    ClosedUnread = 32, "closed_unread",
        "Read to the end before close(2).";
    /// The program that reads the socket, or one of its cgroup (eager mode), can
    /// call splice(2), by its executable or a library.
    MaySplice = 33, "may_splice",
        "Vouch for a program that does not: `assume = [\"no-splice\"]` in its rule.";
    /// Memory may not be had: the socket's cgroup has a limit for sockets, or
    /// the host's memory for TCP is short.
    MemoryLimit = 34, "memory_limit",
        "Take off `memory.kmem.tcp.limit_in_bytes`, or raise `tcp_mem`.";
    /// The program discards what it receives (`MSG_TRUNC`); an enrolled socket
    /// copies it, or fails without a buffer.
    Discards = 35, "discards",
        "Receive without `MSG_TRUNC`.";
    /// Sent with `MSG_MORE`: the stack holds it back until more comes.
    More = 36, "more",
        "Send without `MSG_MORE`.";
    /// The program that reads the socket was not inspected yet, or one that has
    /// begun in its cgroup (eager mode). It may be one that splices.
    NotInspected = 37, "not_inspected",
        "It passes within a second.";
    /// A socket filter (`SO_ATTACH_FILTER`, `SO_ATTACH_BPF`) decides what the
    /// socket gets; it sees no redirected bytes.
    Filtered = 38, "filtered",
        "Take the filter off the socket.";
    /// `SO_MAX_PACING_RATE` is set, which a redirect does not keep to.
    Paced = 39, "paced",
        "Leave `SO_MAX_PACING_RATE` off.";
    /// The socket is mapped into memory, to receive by `TCP_ZEROCOPY_RECEIVE`,
    /// which finds no redirected bytes.
    Mapped = 40, "mapped",
        "Receive without `TCP_ZEROCOPY_RECEIVE`.";
    /// The socket is the kernel's own (NFS, iSCSI, ...), which sets callbacks of
    /// its own on it.
    Kernel = 41, "kernel",
        "Nothing: such sockets stay on the stack.";
    /// The program that reads the socket does networking by an `io_uring`, by which it
    /// could send without a copy; a socket that was ever enrolled refuses that. Or
    /// its ring does not show what for it is. In eager mode any ring of the cgroup.
    Ring = 42, "ring",
        "Nothing, while that program uses one so. For eager mode, run it in a cgroup of its own.";
    /// The agent cannot look at the program that reads the socket, or cannot
    /// enter its network namespace. It lacks a capability (`CAP_SYS_PTRACE`),
    /// or lives in a pid namespace of its own.
    Unseen = 43, "unseen",
        "Give the agent `CAP_SYS_PTRACE`, and run it in the pid namespace of the host.";
    /// The pair was released a moment ago, or the kernel has not done with the
    /// socket's last enrolment yet.
    TooSoon = 44, "too_soon",
        "It passes: the pause after a release is half a second at first, and at most eight.";
    /// A rule of the policy says so (`action = "off"`).
    PolicyOff = 45, "policy_off",
        "Change the rule: `socketvirt policy explain` names it.";
    /// The policy observes the connection only: it would be enrolled.
    Observed = 46, "observed",
        "Give the rule the action `adopt`: `socketvirt policy explain` names it.";
    /// As many pairs are enrolled as a rule of the policy lets (`max_pairs`).
    RuleFull = 47, "rule_full",
        "It passes once other pairs of the rule have ended. A larger `max_pairs` lets more be enrolled.";
    /// No agent watches the data path: the last one was killed, is stopped, or has
    /// left it on.
    Unwatched = 48, "unwatched",
        "Start an agent again, which takes the data path over, or take it away with \
         `socketvirt drain`.";
    /// The program has called splice(2), though the policy vouches that it does not. The
    /// vouch is void.
    VouchVoid = 49, "vouch_void",
        "Take `no-splice` out of the rule's `assume`. A policy that is applied counts its vouches \
         as good again.";
}

// Reasons are numbered without gaps.
const _: () = {
    let mut number = 0;
    while number < REASONS {
        assert!(Reason::ALL[number] as usize == number);
        number += 1;
    }
};

impl Reason {
    /// Returns the reason with this number, if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u32) -> Self {
        if (number as usize) < REASONS {
            // SAFETY: reasons are numbered without gaps, as is asserted above.
            unsafe { core::mem::transmute::<u32, Self>(number) }
        } else {
            Self::None
        }
    }

    /// Returns the reason with this word, if there is one.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}
