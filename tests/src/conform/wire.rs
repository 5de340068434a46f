//! The two ends of the connection: descriptors, which bytes are due, and the
//! wait until nothing is under way.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    step::{End, Watch},
    sys::{self, Info},
};
use crate::{content::Content, net};

/// Without a change for so long, bytes that are held back stay held back.
const HELD: Duration = Duration::from_millis(6);

/// The longest wait for what has to come by itself: longer than a delayed
/// acknowledgement.
const PATIENCE: Duration = Duration::from_millis(600);

/// Numbers of contents: after the state was reached, after a reconnection.
const REACHED: u32 = 1;
pub(super) const RECONNECTED: u32 = 2;

/// One end.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of an end"
)]
pub(super) struct Side {
    pub(super) fd: Option<OwnedFd>,
    pub(super) epoll: OwnedFd,
    /// The way in which it was last watched there.
    pub(super) watched: Option<Watch>,
    /// The content that it sends.
    pub(super) content: Content,
    /// Bytes that its calls have sent.
    pub(super) sent: u64,
    /// Bytes of the other end that its calls have received.
    pub(super) read: u64,
    /// It was told to hold small segments back.
    pub(super) holds: bool,
    /// The other end has closed or shut down, which has not been seen yet.
    pub(super) end_due: bool,
    /// It has sent something to an end that was closed before.
    pub(super) reset_due: bool,
    /// `O_NONBLOCK` is set.
    pub(super) nonblocking: bool,
    /// Counters when the state under test was reached: bytes by its calls, by
    /// the stack.
    base: (u64, u64),
    /// `TCP_INFO`'s counters then: sent, received.
    pub(super) since: (u64, u64),
    /// Redirected bytes since.
    pub(super) fast: u64,
}

/// A connection.
pub(super) struct Wire {
    sides: [Side; 2],
    pub(super) listener: Option<OwnedFd>,
    pub(super) addr: SocketAddr,
}

impl Side {
    fn new(number: u32, first: bool) -> Result<Self> {
        // SAFETY: no memory is passed.
        let epoll = sys::of(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            fd: None,
            epoll: own(epoll)?,
            watched: None,
            content: Content::new(1, number, first, false),
            sent: 0,
            read: 0,
            holds: false,
            end_due: false,
            reset_due: false,
            nonblocking: true,
            base: (0, 0),
            since: (0, 0),
            fast: 0,
        })
    }
}

/// A descriptor that the kernel has just given.
pub(super) fn own(fd: usize) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    let fd = RawFd::try_from(fd).context("a descriptor")?;
    // SAFETY: the caller has it from the kernel and keeps no copy.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Wire {
    pub(super) fn new(listener: Option<OwnedFd>, addr: SocketAddr) -> Result<Self> {
        Ok(Self {
            sides: [Side::new(0, true)?, Side::new(0, false)?],
            listener,
            addr,
        })
    }

    pub(super) fn side(&self, end: End) -> &Side {
        &self.sides[end as usize]
    }

    pub(super) fn side_mut(&mut self, end: End) -> &mut Side {
        &mut self.sides[end as usize]
    }

    pub(super) fn fd(&self, end: End) -> Option<BorrowedFd<'_>> {
        self.side(end).fd.as_ref().map(OwnedFd::as_fd)
    }

    pub(super) fn raw(&self, end: End) -> Option<RawFd> {
        self.fd(end).map(|fd| fd.as_raw_fd())
    }

    /// Other bytes, from position 0 on: what came before must not show in the
    /// transcript.
    pub(super) fn renew(&mut self, number: u32) {
        for end in [End::A, End::B] {
            let content = Content::new(1, number, end == End::A, false);
            let base = self.info(end).map_or(0, |info| given(&info));
            let side = self.side_mut(end);
            (side.content, side.sent, side.read) = (content, 0, 0);
            (side.end_due, side.reset_due, side.base) = (false, false, (0, base));
        }
    }

    /// From here on bytes are counted anew, the redirected ones among them.
    pub(super) fn count_from_here(&mut self) {
        let all_read = |end: End| self.side(end).read == self.side(end.other()).sent;
        if all_read(End::A) && all_read(End::B) {
            self.renew(REACHED);
        }
        for end in [End::A, End::B] {
            let info = self.info(end).unwrap_or_default();
            let side = self.side_mut(end);
            side.base = (side.sent, given(&info));
            side.since = (info.sent, info.received);
            side.fast = 0;
        }
    }

    pub(super) fn info(&self, end: End) -> Option<Info> {
        self.fd(end).and_then(|fd| Info::of(fd).ok())
    }

    /// Says what came to `end` next, in words; takes it unless it was a peek.
    pub(super) fn judge(&mut self, end: End, data: &[u8], taken: bool) -> String {
        let at = self.side(end).read;
        let exact = self.side(end.other()).content.check(at, data).is_ok();
        if taken {
            self.side_mut(end).read += data.len() as u64;
        }
        if exact {
            format!("{} exact", data.len())
        } else {
            let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            format!("{} other {hash:016x}", data.len())
        }
    }

    /// Waits until what was sent has arrived: by the stack, whose counters at
    /// both ends tell it; a redirect is over when the send returns.
    ///
    /// It does not ask how many bytes are readable, because that is among the
    /// things that are compared.
    pub(super) fn settle(&mut self) {
        let start = Instant::now();
        let mut changed = start;
        let mut before = None;
        loop {
            let now = [End::A, End::B].map(|end| self.info(end));
            if before != Some(now) {
                (before, changed) = (Some(now), Instant::now());
            }
            let waits = [End::A, End::B].map(|end| self.waits(end, &now));
            let held = waits.contains(&Some(Wait::Held)) && changed.elapsed() < HELD;
            let due = waits.contains(&Some(Wait::Due)) && start.elapsed() < PATIENCE;
            if !held && !due {
                break;
            }
            if start.elapsed() > Duration::from_millis(2) {
                thread::sleep(Duration::from_micros(200));
            } else {
                thread::yield_now();
            }
        }
        for end in [End::A, End::B] {
            let Some(info) = self.info(end) else { continue };
            let side = self.side_mut(end);
            (side.end_due, side.reset_due) = (false, false);
            let calls = side.sent.saturating_sub(side.base.0);
            let stack = given(&info).saturating_sub(side.base.1);
            side.fast = side.fast.max(calls.saturating_sub(stack));
        }
    }

    /// Returns what `end` waits for, or its bytes for.
    fn waits(&self, end: End, now: &[Option<Info>; 2]) -> Option<Wait> {
        let (own, peer) = (now[end as usize], now[end.other() as usize]);
        let side = self.side(end);
        let broken = self.ready(end) & (libc::POLLHUP | libc::POLLERR) != 0;
        if side.reset_due && !broken {
            return Some(Wait::Due);
        }
        let ended = broken || self.ready(end) & libc::POLLRDHUP != 0;
        if side.end_due && !ended {
            return Some(Wait::Due);
        }
        let (own, peer) = (own?, peer?);
        if broken || own.state == sys::CLOSED || peer.state == sys::CLOSED {
            return None;
        }
        // A full window, too, holds bytes back.
        let full = peer.received >= own.sent && own.unsent > 64 << 10;
        if own.unsent > 0 && (side.holds || full) {
            return Some(Wait::Held);
        }
        (own.unsent > 0 || peer.received < own.sent).then_some(Wait::Due)
    }

    fn ready(&self, end: End) -> i16 {
        let of = |fd| net::wait(fd, libc::POLLRDHUP, 0).unwrap_or(0);
        self.fd(end).map_or(0, of)
    }
}

/// Bytes that were given to the stack.
fn given(info: &Info) -> u64 {
    info.sent + u64::from(info.unsent)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For what may stay held back.
    Held,
    /// For what has to come.
    Due,
}
