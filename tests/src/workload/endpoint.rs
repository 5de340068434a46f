//! One non-blocking end: turns readiness into calls, with the mix of calls
//! that real programs use.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, Shutdown, recv, send, shutdown},
        uio::{readv, writev},
    },
    unistd::read,
};

use super::flow::{Flow, PIECE};
use crate::net::{self, readable_bytes};

/// Buffers shared by all ends of a thread.
pub(crate) struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            read: vec![0; PIECE],
            write: vec![0; PIECE],
        }
    }
}

/// One read, by one of the calls that programs use.
///
/// `fresh` says that poll or epoll has just called the socket readable, so a
/// FIONREAD of 0 with bytes to read would mislead a program that trusts it.
pub(crate) fn read_some(
    fd: BorrowedFd<'_>,
    flow: &mut Flow,
    buffer: &mut [u8],
    fresh: bool,
) -> Result<Result<usize, Errno>> {
    let size = buffer.len();
    let raw = fd.as_raw_fd();
    let result = match flow.rng.below(8) {
        0 => {
            let (a, b) = buffer.split_at_mut(size / 2);
            readv(fd, &mut [IoSliceMut::new(a), IoSliceMut::new(b)])
        }
        1 => match recv(raw, buffer, MsgFlags::MSG_PEEK) {
            Ok(peeked) => {
                flow.check(&buffer[..peeked])?;
                let taken = recv(raw, buffer, MsgFlags::empty());
                ensure!(
                    taken.is_ok_and(|n| n >= peeked),
                    "{}: MSG_PEEK showed {peeked} bytes, then recv gave {taken:?}",
                    flow.name()
                );
                taken
            }
            error => error,
        },
        2 => {
            let promised = readable_bytes(fd).context("FIONREAD")?;
            let result = recv(raw, buffer, MsgFlags::empty());
            if let Ok(taken) = result {
                ensure!(
                    taken >= promised.min(size),
                    "{}: FIONREAD said {promised}, recv of {size} gave {taken}",
                    flow.name()
                );
                ensure!(
                    promised > 0 || taken == 0 || !fresh || !flow.trusts_fionread(),
                    "{}: readable and {taken} bytes there, but FIONREAD said 0",
                    flow.name()
                );
            }
            result
        }
        3 => read(fd, buffer),
        _ => recv(raw, buffer, MsgFlags::empty()),
    };
    Ok(result)
}

/// One write, by one of the calls that programs use.
pub(crate) fn write_some(
    fd: BorrowedFd<'_>,
    flow: &mut Flow,
    bytes: &[u8],
) -> Result<usize, Errno> {
    match flow.rng.below(4) {
        0 => {
            let (a, b) = bytes.split_at(bytes.len() / 3);
            writev(fd, &[IoSlice::new(a), IoSlice::new(b)])
        }
        1 => nix::unistd::write(fd, bytes),
        _ => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL),
    }
}

/// The wish of an end after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Another turn as soon as the others had theirs.
    Again,
    /// A turn when the socket is ready.
    Events,
    /// A turn when the socket is ready or after this time.
    Timer(Duration),
    /// The connection has ended as it should.
    Done,
}

/// The way in which readiness is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    Level,
    Edge,
    EdgeShort,
}

/// One non-blocking end of a connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is the kernel's word on one event"
)]
pub(crate) struct Endpoint {
    pub(crate) fd: OwnedFd,
    pub(crate) flow: Flow,
    trigger: Trigger,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Set by an event, cleared by the first read after it.
    pub(crate) fresh: bool,
    /// The event that made it readable also spoke of the peer's end, so a
    /// short read is not the last one.
    pub(crate) hangup: bool,
    resting: Option<Instant>,
    shut: bool,
    ended: bool,
}

impl Endpoint {
    pub(crate) fn new(fd: OwnedFd, mut flow: Flow, trigger: Trigger) -> Self {
        flow.on(fd.as_raw_fd());
        Self {
            fd,
            flow,
            trigger,
            readable: false,
            writable: true,
            fresh: false,
            hangup: false,
            resting: None,
            shut: false,
            ended: false,
        }
    }

    /// The reader is pausing, so a level-triggered wait must not ask for it.
    pub(crate) fn wants_read(&self) -> bool {
        self.resting.is_none() && !self.ended
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.writable && self.flow.to_send() > 0
    }

    /// At most one read and one write.
    pub(crate) fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Result<Wish> {
        self.flow.tick();
        if self.flow.tells_room() {
            net::tell_room(&self.fd).with_context(|| self.flow.name())?;
        }
        if self.resting.is_some_and(|until| until <= now) {
            self.resting = None;
        }
        if self.readable && self.wants_read() {
            self.read(now, scratch)?;
        }
        let pause = self.flow.pause(now);
        if self.writable && pause.is_none() && self.flow.to_send() > 0 {
            self.write(scratch)?;
        }
        if self.flow.finished() && self.end()? {
            return Ok(Wish::Done);
        }
        Ok(self.wish(now))
    }

    fn wish(&self, now: Instant) -> Wish {
        let pause = self.flow.pause(now);
        let can_write = self.writable && pause.is_none() && self.flow.to_send() > 0;
        if can_write || (self.readable && self.wants_read()) {
            return Wish::Again;
        }
        let rest = self
            .resting
            .map(|until| until.saturating_duration_since(now));
        match (pause, rest) {
            (Some(a), Some(b)) => Wish::Timer(a.min(b)),
            (Some(a), None) | (None, Some(a)) => Wish::Timer(a),
            (None, None) => Wish::Events,
        }
    }

    fn read(&mut self, now: Instant, scratch: &mut Scratch) -> Result<()> {
        let asked = self.flow.read_size();
        let fresh = std::mem::take(&mut self.fresh);
        match read_some(
            self.fd.as_fd(),
            &mut self.flow,
            &mut scratch.read[..asked],
            fresh,
        )? {
            Ok(0) => {
                self.flow.end_of_file(false)?;
                self.ended = true;
                self.readable = false;
            }
            Ok(n) => {
                self.flow.receive(&scratch.read[..n])?;
                self.resting = self.flow.dawdle().map(|d| now + d);
                match self.trigger {
                    Trigger::Level => self.readable = false,
                    Trigger::Edge => {}
                    Trigger::EdgeShort => self.readable = n >= asked || self.hangup,
                }
            }
            Err(Errno::EAGAIN) => {
                self.readable = false;
                self.flow.spurious += u64::from(fresh);
            }
            Err(errno) => bail!("{}: receive: {errno}", self.flow.name()),
        }
        Ok(())
    }

    fn write(&mut self, scratch: &mut Scratch) -> Result<()> {
        let size = self.flow.next_piece(&mut scratch.write);
        match write_some(self.fd.as_fd(), &mut self.flow, &scratch.write[..size]) {
            Ok(n) => {
                self.flow.took(n);
                // A program that knows epoll(7) takes a short write as full.
                if n < size && self.trigger == Trigger::EdgeShort {
                    self.writable = false;
                }
            }
            Err(Errno::EAGAIN) => self.writable = false,
            Err(errno) => bail!("{}: send of {size}: {errno}", self.flow.name()),
        }
        Ok(())
    }

    /// Plays this end's part of the ending; true when it is over.
    fn end(&mut self) -> Result<bool> {
        let (first, ending) = self.flow.ending();
        if !first {
            return Ok(self.ended);
        }
        if !ending.half_close {
            return Ok(true);
        }
        if !self.shut {
            shutdown(self.fd.as_raw_fd(), Shutdown::Write).with_context(|| self.flow.name())?;
            self.shut = true;
        }
        Ok(self.ended)
    }
}
