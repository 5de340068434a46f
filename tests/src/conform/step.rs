//! A scenario as data: what is called on which end, in which order.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error, Result, bail};

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
    /// How an end is watched by epoll.
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

/// What is done to an end.
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
    /// Whether the steps make the connection themselves.
    #[must_use]
    pub fn opens(&self) -> bool {
        let first = self.steps.iter().find_map(|step| match step {
            Step::On(_, _, Call::Accept | Call::Connect(_)) => Some(true),
            Step::On(_, _, Call::Disconnect) => Some(false),
            _ => None,
        });
        first.unwrap_or(false)
    }

    /// Whether the steps say when to reach the state.
    #[must_use]
    pub fn reaches(&self) -> bool {
        self.steps.contains(&Step::Reach)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(opt, value) => write!(f, "listen {opt} {value}"),
            Self::Reach => f.write_str("reach"),
            Self::On(end, Place::Here, call) => write!(f, "{end} {call}"),
            Self::On(end, place, call) => write!(f, "{place} {end} {call}"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transfer = |f: &mut fmt::Formatter<'_>, verb, size, by: &By, flags: &[Flag]| {
            write!(f, "{verb} {size}")?;
            if *by != By::Plain {
                write!(f, " by={by}")?;
            }
            flags.iter().try_for_each(|flag| write!(f, " {flag}"))
        };
        match self {
            Self::Send(size, by, flags) => transfer(f, "send", size, by, flags),
            Self::Recv(size, by, flags) => transfer(f, "recv", size, by, flags),
            Self::Fill => f.write_str("fill"),
            Self::Drain => f.write_str("drain"),
            Self::Shut(way) => write!(f, "shut {way}"),
            Self::Close => f.write_str("close"),
            Self::Reset => f.write_str("reset"),
            Self::Set(opt, value) => write!(f, "set {opt} {value}"),
            Self::Get(opt) => write!(f, "get {opt}"),
            Self::Inq => f.write_str("inq"),
            Self::Outq => f.write_str("outq"),
            Self::Mark => f.write_str("mark"),
            Self::Info => f.write_str("info"),
            Self::Counters => f.write_str("counters"),
            Self::Poll => f.write_str("poll"),
            Self::Pollin => f.write_str("pollin"),
            Self::Select => f.write_str("select"),
            Self::Watch(watch) => write!(f, "watch {watch}"),
            Self::Rearm => f.write_str("rearm"),
            Self::Events => f.write_str("events"),
            Self::Wait => f.write_str("wait"),
            Self::Block => f.write_str("block"),
            Self::Nonblock => f.write_str("nonblock"),
            Self::Dup => f.write_str("dup"),
            Self::Pass => f.write_str("pass"),
            Self::Signal(false) => f.write_str("signal"),
            Self::Signal(true) => f.write_str("signal restart"),
            Self::Disconnect => f.write_str("disconnect"),
            Self::Connect(0) => f.write_str("connect"),
            Self::Connect(size) => write!(f, "connect {size}"),
            Self::Accept => f.write_str("accept"),
        }
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let steps = text.split(';').map(str::trim).filter(|one| !one.is_empty());
        let step = |text: &str| {
            text.parse::<Step>()
                .with_context(|| format!("step {text:?}"))
        };
        Ok(Self {
            steps: steps.map(step).collect::<Result<_>>()?,
        })
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["reach"] => return Ok(Self::Reach),
            ["listen", opt, value] => return Ok(Self::Listen(opt.parse()?, value.parse()?)),
            _ => {}
        }
        let mut place = Place::Here;
        if let Some(other) = words.first().and_then(|word| word.parse().ok()) {
            place = other;
            words.remove(0);
        }
        let [end, call @ ..] = &words[..] else {
            bail!("no end");
        };
        Ok(Self::On(end.parse()?, place, parse_call(call)?))
    }
}

fn parse_call(words: &[&str]) -> Result<Call> {
    Ok(match *words {
        ["send", size, ref rest @ ..] => {
            let (by, flags) = transfer(rest)?;
            Call::Send(size.parse()?, by, flags)
        }
        ["recv", size, ref rest @ ..] => {
            let (by, flags) = transfer(rest)?;
            Call::Recv(size.parse()?, by, flags)
        }
        ["shut", way] => Call::Shut(way.parse()?),
        ["set", opt, value] => Call::Set(opt.parse()?, value.parse()?),
        ["get", opt] => Call::Get(opt.parse()?),
        ["watch", watch] => Call::Watch(watch.parse()?),
        ["signal", "restart"] => Call::Signal(true),
        ["connect", size] => Call::Connect(size.parse()?),
        [word] => simple(word).with_context(|| format!("no call {word:?}"))?,
        _ => bail!("no call {words:?}"),
    })
}

fn transfer(words: &[&str]) -> Result<(By, Vec<Flag>)> {
    let mut by = By::Plain;
    let mut flags = Vec::new();
    for word in words {
        match word.strip_prefix("by=") {
            Some(way) => by = way.parse()?,
            None => flags.push(word.parse()?),
        }
    }
    Ok((by, flags))
}

/// Calls of one word, which is the one they are printed as.
fn simple(word: &str) -> Option<Call> {
    const SIMPLE: [Call; 23] = [
        Call::Fill,
        Call::Drain,
        Call::Close,
        Call::Reset,
        Call::Inq,
        Call::Outq,
        Call::Mark,
        Call::Info,
        Call::Counters,
        Call::Poll,
        Call::Pollin,
        Call::Select,
        Call::Rearm,
        Call::Events,
        Call::Wait,
        Call::Block,
        Call::Nonblock,
        Call::Dup,
        Call::Pass,
        Call::Signal(false),
        Call::Disconnect,
        Call::Connect(0),
        Call::Accept,
    ];
    SIMPLE.into_iter().find(|call| call.to_string() == word)
}
