//! Rounds that come again until a condition holds: one end of a connection sees that
//! it does, and both end with the same round.
//!
//! The two ends may be two processes, so the number of the last round is in
//! memory that they share. It is written before the first byte of that round is
//! sent, and read when all of its bytes have arrived.

use std::{
    env,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous},
};

use crate::{
    net,
    run::{END, GO, PLAIN},
};

/// The condition that a phase waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// All bytes of the last round, both ways, went past the stack.
    Fast,
    /// The socket of the end that decides is a plain one.
    Left,
    /// The file that [`GO`] names is there.
    Go,
    /// The file that [`END`] names is there.
    End,
}

impl FromStr for Condition {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "fast" => Self::Fast,
            "left" => Self::Left,
            "go" => Self::Go,
            "end" => Self::End,
            _ => bail!("condition {text}: not known"),
        })
    }
}

/// True when nothing is redirected here, so that conditions of paths hold at
/// once.
pub(crate) fn plain() -> bool {
    static IS: LazyLock<bool> = LazyLock::new(|| env::var_os(PLAIN).is_some());
    *IS
}

/// True when the file that [`GO`] names is there.
pub(crate) fn may_go() -> bool {
    exists(GO)
}

/// True when the file that a variable names is there.
fn exists(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|file| Path::new(&file).exists())
}

/// The last round of one phase of one connection, or 0.
pub(crate) struct Gate<'a>(&'a AtomicU64);

impl Gate<'_> {
    pub(crate) fn let_be_last(&self, round: u64) {
        // Once decided it stays, also when the condition ends.
        let _ = self
            .0
            .compare_exchange(0, round, Ordering::Release, Ordering::Relaxed);
    }

    /// The last round, once it is known.
    pub(crate) fn last(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|round| *round > 0)
    }
}

/// The gates of all connections.
#[derive(Debug)]
pub(crate) struct Gates {
    all: &'static [AtomicU64],
    of_each: usize,
}

impl Gates {
    /// To be made before the ends are processes of their own.
    pub(crate) fn new(connections: u32, of_each: usize) -> Result<Self> {
        let count = usize::try_from(connections)? * of_each;
        let Some(bytes) = std::num::NonZero::new(count * size_of::<AtomicU64>()) else {
            return Ok(Self { all: &[], of_each });
        };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at no address that is asked for.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }
            .context("memory for both ends")?;
        // SAFETY: the mapping has room for as many, begins at a page, holds
        // zeros and is never taken away.
        let all = unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), count) };
        Ok(Self { all, of_each })
    }

    /// That of one phase of one connection.
    pub(crate) fn of(&self, connection: u32, phase: usize) -> Gate<'_> {
        Gate(&self.all[connection as usize * self.of_each + phase])
    }
}

/// A socket whose path is watched.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    socket: Option<RawFd>,
    before: Option<(u64, u64)>,
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.unwrap_or(-1)
    }
}

impl Watched {
    pub(crate) fn new(socket: RawFd) -> Self {
        Self {
            socket: Some(socket),
            before: None,
        }
    }

    /// True when it holds; asked at the beginning of each round.
    pub(crate) fn holds(&mut self, condition: Condition) -> bool {
        match condition {
            Condition::Go => may_go(),
            Condition::End => exists(END),
            Condition::Fast | Condition::Left if plain() => true,
            Condition::Fast => self.stood_still(),
            Condition::Left => !enrolled(self),
        }
    }

    /// A first round begins.
    pub(crate) fn begin(&mut self) {
        self.forget();
        self.stood_still();
    }

    /// Another round has nothing to do with those before.
    pub(crate) fn forget(&mut self) {
        self.before = None;
    }

    /// The stack has carried nothing since the last time that this was asked.
    fn stood_still(&mut self) -> bool {
        let now = net::tcp_info(self)
            .ok()
            .map(|info| (info.tcpi_bytes_sent, info.tcpi_bytes_received));
        let before = std::mem::replace(&mut self.before, now);
        now.is_some() && now == before
    }

    /// Bytes that the stack has taken from this socket.
    pub(crate) fn by_stack(&self) -> u64 {
        net::tcp_info(self).map_or(u64::MAX, |info| {
            let again = info.tcpi_bytes_retrans;
            info.tcpi_bytes_sent - again + u64::from(info.tcpi_notsent_bytes)
        })
    }
}

/// True when a socket is enrolled: a receive of no bytes answers 0 at once in
/// `tcp_bpf_recvmsg`, and EAGAIN in `tcp_recvmsg` when nothing is there.
pub(crate) fn enrolled(socket: &impl AsRawFd) -> bool {
    // SAFETY: no bytes are written.
    let answer = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            std::ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
        )
    };
    Errno::result(answer) == Ok(0)
}
