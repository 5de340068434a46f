//! A scenario as data: what is called on which end, in which order.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error, Result};

/// An enum whose variants are words of the text form.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self> {
                let found = Self::ALL.iter().find(|one| one.word() == word);
                found.copied().with_context(|| format!("{word:?} is no {}", stringify!($name)))
            }
        }
    };
}

words! {
    /// The two ends of the connection. Unless a step says otherwise, `a`
    /// connects and `b` accepts.
    End {
        /// One end.
        A = "a",
        /// The other.
        B = "b",
    }
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

words! {
    /// The call that sends or receives.
    By {
        /// send(2), recv(2).
        Plain = "plain",
        /// write(2), read(2).
        File = "file",
        /// sendmsg(2), recvmsg(2), in pieces of 7 bytes.
        Msg = "msg",
        /// writev(2), readv(2), in pieces of 7 bytes.
        Vec = "vec",
        /// sendmmsg(2), recvmmsg(2) with two messages.
        Mmsg = "mmsg",
        /// sendfile(2); only to send.
        Sendfile = "sendfile",
        /// splice(2) through a pipe.
        Splice = "splice",
        /// `io_uring`.
        Uring = "uring",
        /// `io_uring`, without a copy; only to send.
        UringZc = "uring_zc",
    }
}

words! {
    /// A flag of a call.
    Flag {
        /// `MSG_PEEK`.
        Peek = "peek",
        /// `MSG_WAITALL`.
        Waitall = "waitall",
        /// `MSG_DONTWAIT`.
        Dontwait = "dontwait",
        /// `MSG_TRUNC`.
        Trunc = "trunc",
        /// `MSG_TRUNC` with no buffer at all.
        Null = "null",
        /// `MSG_OOB`.
        Oob = "oob",
        /// `MSG_ERRQUEUE`.
        Errqueue = "errqueue",
        /// `MSG_MORE`.
        More = "more",
        /// `MSG_ZEROCOPY`.
        Zerocopy = "zerocopy",
    }
}

words! {
    /// Directions of shutdown(2).
    Way {
        /// Reading.
        Read = "r",
        /// Writing.
        Write = "w",
        /// Both.
        Both = "rw",
    }
}

words! {
    /// The way in which an end is watched by epoll.
    Watch {
        /// For input, level-triggered.
        Level = "level",
        /// For input, edge-triggered.
        Edge = "edge",
        /// For input and output, edge-triggered.
        EdgeOut = "edge-out",
        /// For input, once.
        Oneshot = "oneshot",
        /// For input, `EPOLLEXCLUSIVE`.
        Exclusive = "exclusive",
    }
}

words! {
    /// Socket options.
    Opt {
        /// `SO_RCVLOWAT`
        Rcvlowat = "rcvlowat",
        /// `SO_RCVTIMEO` in milliseconds
        Rcvtimeo = "rcvtimeo",
        /// `SO_SNDTIMEO` in milliseconds
        Sndtimeo = "sndtimeo",
        /// `SO_LINGER` in seconds, negative is off
        Linger = "linger",
        /// `SO_RCVBUF`
        Rcvbuf = "rcvbuf",
        /// `SO_SNDBUF`
        Sndbuf = "sndbuf",
        /// `SO_TIMESTAMP`
        Timestamp = "timestamp",
        /// `SO_OOBINLINE`
        Oobinline = "oobinline",
        /// `SO_PEEK_OFF`
        Peekoff = "peekoff",
        /// `SO_ZEROCOPY`
        Zerocopy = "zerocopy",
        /// `SO_ERROR`, to be read
        Error = "error",
        /// `SO_KEEPALIVE`
        Keepalive = "keepalive",
        /// `TCP_KEEPIDLE`
        Keepidle = "keepidle",
        /// `TCP_NODELAY`
        Nodelay = "nodelay",
        /// `TCP_CORK`
        Cork = "cork",
        /// `TCP_QUICKACK`
        Quickack = "quickack",
        /// `TCP_USER_TIMEOUT`
        Usertimeout = "usertimeout",
        /// `TCP_INQ`
        Inq = "inq",
        /// `TCP_NOTSENT_LOWAT`
        Notsentlowat = "notsentlowat",
        /// `TCP_DEFER_ACCEPT`, of the listener
        Defer = "defer",
        /// `TCP_FASTOPEN`, of the listener
        Fastopen = "fastopen",
    }
}

words! {
    /// Where a call is made.
    Place {
        /// In the scenario's own process.
        Here = "here",
        /// The same, and the scenario goes on only once it has returned.
        Await = "await",
        /// In a forked child.
        Fork = "fork",
        /// In another process, which gets the socket by `SCM_RIGHTS` and gives
        /// it back, while nobody else holds it.
        Handover = "handover",
    }
}

/// A call on an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Sends so many bytes.
    Send(usize, By, Vec<Flag>),
    /// Receives up to so many bytes.
    Recv(usize, By, Vec<Flag>),
    /// Sends until nothing more goes in.
    Fill,
    /// Receives everything there is.
    Drain,
    /// shutdown(2).
    Shut(Way),
    /// close(2).
    Close,
    /// close(2) with `SO_LINGER` 0.
    Reset,
    /// setsockopt(2).
    Set(Opt, i32),
    /// getsockopt(2).
    Get(Opt),
    /// FIONREAD.
    Inq,
    /// SIOCOUTQ, once everything is acknowledged.
    Outq,
    /// SIOCATMARK.
    Mark,
    /// The state of `TCP_INFO`.
    Info,
    /// The byte counters of `TCP_INFO`.
    Counters,
    /// poll(2) for everything, without waiting.
    Poll,
    /// poll(2) for input, waiting.
    Pollin,
    /// select(2), without waiting.
    Select,
    /// `epoll_ctl` in an epoll of the end's own.
    Watch(Watch),
    /// `EPOLL_CTL_MOD` to the same.
    Rearm,
    /// `epoll_wait`, without waiting.
    Events,
    /// `epoll_wait`, waiting.
    Wait,
    /// Clears `O_NONBLOCK`.
    Block,
    /// Sets `O_NONBLOCK`.
    Nonblock,
    /// The end goes on as a duplicate.
    Dup,
    /// The end goes on as a descriptor that came by `SCM_RIGHTS`.
    Pass,
    /// A signal to the last call of this end that sleeps, `SA_RESTART` or not.
    Signal(bool),
    /// `connect(AF_UNSPEC)`.
    Disconnect,
    /// connect(2), or with so many bytes in the SYN.
    Connect(usize),
    /// accept(2).
    Accept,
}

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An option of the listener, before it listens.
    Listen(Opt, i32),
    /// Here the connection gets into the state under test.
    Reach,
    /// A call.
    On(End, Place, Call),
}

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// Its steps. Without a `connect` it begins with a connection; without a
    /// `reach` that step comes next.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// True when a call is made by `io_uring`, which keeps its program off.
    #[must_use]
    pub fn has_ring(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::On(_, _, Call::Send(_, by, _) | Call::Recv(_, by, _)) => {
                matches!(by, By::Uring | By::UringZc)
            }
            _ => false,
        })
    }

    /// True when the steps make the connection themselves.
    #[must_use]
    pub fn opens(&self) -> bool {
        let first = self.steps.iter().find_map(|step| match step {
            Step::On(_, _, Call::Accept | Call::Connect(_)) => Some(true),
            Step::On(_, _, Call::Disconnect) => Some(false),
            _ => None,
        });
        first.unwrap_or(false)
    }

    /// True when the steps say when to reach the state.
    #[must_use]
    pub fn reaches(&self) -> bool {
        self.steps.contains(&Step::Reach)
    }
}
