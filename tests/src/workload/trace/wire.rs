//! Both ends of one connection in one hand, and the log of what they answered.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, send, shutdown},
    unistd::{pipe, read},
};

use super::{
    super::{
        args::{Place, Trace},
        content::Content,
        net,
    },
    Warm, errno_name,
};

/// The acting end of a case.
pub(super) const A: usize = 0;
/// The other end.
pub(super) const B: usize = 1;

/// How long an awaited event may take before its absence is logged.
const PATIENCE: u16 = 3000;

pub(super) struct Wire {
    fds: [Option<OwnedFd>; 2],
    sent: [u64; 2],
    read: [u64; 2],
    content: [Content; 2],
    pub(super) swapped: bool,
    pub(super) log: Vec<String>,
    pub(super) place: Place,
    pub(super) nonblocking: bool,
    listener: OwnedFd,
    addr: SocketAddr,
    index: u32,
    seed: u64,
}

impl Wire {
    pub(super) fn new(
        args: &Trace,
        listener: &OwnedFd,
        addr: SocketAddr,
        index: u32,
        swapped: bool,
    ) -> Result<Self> {
        Ok(Self {
            fds: [None, None],
            sent: [0; 2],
            read: [0; 2],
            content: contents(args.seed, index),
            swapped,
            log: Vec::new(),
            place: args.place.clone(),
            nonblocking: !args.blocking,
            listener: listener.try_clone().context("dup")?,
            addr,
            index,
            seed: args.seed,
        })
    }

    /// Connects and accepts.
    pub(super) fn open(&mut self) -> Result<()> {
        self.connect()?;
        self.accept()
    }

    /// The end that is the client.
    pub(super) fn client(&self) -> usize {
        if self.swapped { B } else { A }
    }

    pub(super) fn connect(&mut self) -> Result<()> {
        let (fd, _) = net::connect_to(&self.place, self.addr, self.index, self.nonblocking, &[])?;
        let client = self.client();
        self.fds[client] = Some(fd);
        Ok(())
    }

    pub(super) fn accept(&mut self) -> Result<()> {
        let fd =
            net::accept(self.listener.as_fd(), &self.place, self.nonblocking).context("accept")?;
        let server = 1 - self.client();
        self.fds[server] = Some(fd);
        Ok(())
    }

    /// Other bytes from now on, counted from 0: the connection is a new one.
    pub(super) fn renew(&mut self) {
        self.content = contents(self.seed ^ 0x00ff_00ff, self.index);
        self.sent = [0; 2];
        self.read = [0; 2];
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn fd(&self, end: usize) -> BorrowedFd<'_> {
        self.fds[end]
            .as_ref()
            .expect("a case uses an end that it closed")
            .as_fd()
    }

    pub(super) fn owned(&self, end: usize) -> &OwnedFd {
        self.fds[end]
            .as_ref()
            .expect("a case uses an end that it closed")
    }

    pub(super) fn raw(&self, end: usize) -> RawFd {
        self.fd(end).as_raw_fd()
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.log.push(text.into());
    }

    /// The next bytes that `end` has to send; counted as sent.
    pub(super) fn next(&mut self, end: usize, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.content[end].fill(self.sent[end], &mut bytes);
        self.sent[end] += size as u64;
        bytes
    }

    /// Takes back what a call did not send.
    pub(super) fn unsent(&mut self, end: usize, size: usize) {
        self.sent[end] -= size as u64;
    }

    pub(super) fn send(&mut self, end: usize, size: usize) {
        self.send_with(end, size, MsgFlags::empty());
    }

    pub(super) fn send_with(&mut self, end: usize, size: usize, flags: MsgFlags) {
        let bytes = self.next(end, size);
        let result = send(self.raw(end), &bytes, flags | MsgFlags::MSG_NOSIGNAL);
        self.unsent(end, size - result.unwrap_or(0));
        self.note(format!(
            "{} sends {size}: {}",
            name(end),
            errno_name(result)
        ));
    }

    /// Checks received bytes and says what they are.
    pub(super) fn judge(&mut self, end: usize, bytes: &[u8], taken: bool) -> String {
        let from = 1 - end;
        let verdict = match self.content[from].check(self.read[end], bytes) {
            Ok(()) => format!("{} exact", bytes.len()),
            Err(mismatch) => format!("WRONG: {} bytes, {mismatch}", bytes.len()),
        };
        if taken {
            self.read[end] += bytes.len() as u64;
        }
        verdict
    }

    /// Bytes that a call discarded.
    pub(super) fn skip(&mut self, end: usize, size: usize) {
        self.read[end] += size as u64;
    }

    /// One receive of up to `size` bytes, which never blocks.
    pub(super) fn recv(&mut self, end: usize, size: usize) {
        self.recv_with(end, size, MsgFlags::empty());
    }

    pub(super) fn recv_with(&mut self, end: usize, size: usize, flags: MsgFlags) {
        let mut buffer = vec![0; size];
        let result = recv(self.raw(end), &mut buffer, flags | MsgFlags::MSG_DONTWAIT);
        let text = self.outcome(end, &buffer, result, !flags.contains(MsgFlags::MSG_PEEK));
        self.note(format!("{} receives {text}", name(end)));
    }

    pub(super) fn outcome(
        &mut self,
        end: usize,
        buffer: &[u8],
        result: Result<usize, Errno>,
        taken: bool,
    ) -> String {
        match result {
            Ok(0) => "end of file".to_owned(),
            Ok(n) => self.judge(end, &buffer[..n], taken),
            Err(errno) => format!("{errno:?}"),
        }
    }

    /// Receives until everything that was sent has come, or what ended it.
    pub(super) fn recv_all(&mut self, end: usize) {
        let start = self.read[end];
        let mut buffer = vec![0; 64 << 10];
        let mut ended = String::new();
        while self.read[end] < self.sent[1 - end] {
            let ready = net::wait(self.fd(end), libc::POLLIN, PATIENCE);
            if ready.is_ok_and(|r| r == 0) {
                ended.push_str(", then nothing");
                break;
            }
            let result = recv(self.raw(end), &mut buffer, MsgFlags::MSG_DONTWAIT);
            let text = self.outcome(end, &buffer, result, true);
            if !text.ends_with("exact") {
                ended = format!(", then {text}");
                break;
            }
        }
        let count = self.read[end] - start;
        self.note(format!("{} receives {count} in all{ended}", name(end)));
    }

    /// Waits for all of these events and logs those there are.
    pub(super) fn wait(&mut self, end: usize, events: i16) {
        let deadline = Instant::now() + Duration::from_millis(u64::from(PATIENCE));
        let mut seen = self.poll(end);
        while seen & events != events && Instant::now() < deadline {
            // Each event may come alone, so the wait is for the missing ones.
            let _ = net::wait(self.fd(end), events & !seen, 50);
            seen = self.poll(end);
        }
        self.note(format!("{} is {}", name(end), event_names(seen)));
    }

    pub(super) fn poll(&self, end: usize) -> i16 {
        let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
        net::wait(self.fd(end), all, 0).unwrap_or(0)
    }

    /// Waits until FIONREAD says at least `bytes`, and logs what it says.
    pub(super) fn fionread(&mut self, end: usize, bytes: usize) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut seen = net::readable_bytes(self.fd(end));
        while seen.is_ok_and(|n| n < bytes) && Instant::now() < deadline {
            let _ = net::wait(self.fd(end), 0, 5);
            seen = net::readable_bytes(self.fd(end));
        }
        self.note(format!("{} FIONREAD {}", name(end), errno_name(seen)));
    }

    pub(super) fn shutdown(&mut self, end: usize, how: Shutdown) {
        let result = shutdown(self.raw(end), how);
        self.note(format!(
            "{} shutdown {how:?}: {}",
            name(end),
            errno_name(result.map(|()| 0))
        ));
    }

    pub(super) fn close(&mut self, end: usize) {
        self.fds[end] = None;
        self.note(format!("{} closes", name(end)));
    }

    /// Closes with a reset.
    pub(super) fn reset(&mut self, end: usize) -> Result<()> {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&self.fd(end), nix::sys::socket::sockopt::Linger, &linger)
            .context("SO_LINGER")?;
        self.fds[end] = None;
        self.note(format!("{} resets", name(end)));
        Ok(())
    }

    /// A request and its answer, as the warm-up does them.
    pub(super) fn exchange(&mut self, size: usize, warm: Warm) -> Result<()> {
        for from in [A, B] {
            let to = 1 - from;
            let bytes = self.next(from, size);
            let sent =
                send(self.raw(from), &bytes, MsgFlags::MSG_NOSIGNAL).context("warm-up: send")?;
            ensure!(sent == size, "warm-up: send of {size} took {sent}");
            let mut got = 0;
            while got < size {
                let ready = net::wait(self.fd(to), libc::POLLIN, 10_000)?;
                ensure!(ready != 0, "warm-up: {} bytes did not arrive", size - got);
                let mut buffer = vec![0; size - got];
                let n = match warm {
                    Warm::Splice => self.by_splice(to, &mut buffer)?,
                    Warm::WaitAll => recv(self.raw(to), &mut buffer, MsgFlags::MSG_WAITALL)?,
                    _ => recv(self.raw(to), &mut buffer, MsgFlags::empty())?,
                };
                let verdict = self.judge(to, &buffer[..n], true);
                ensure!(n > 0 && verdict.ends_with("exact"), "warm-up: {verdict}");
                got += n;
            }
        }
        Ok(())
    }

    /// Receives through a pipe.
    pub(super) fn by_splice(&self, end: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
        let (out, into) = pipe()?;
        let flags = libc::SPLICE_F_NONBLOCK;
        net::splice(&self.fd(end), &into, buffer.len(), flags)?;
        drop(into);
        read(&out, buffer)
    }
}

fn contents(seed: u64, index: u32) -> [Content; 2] {
    [
        Content::new(seed, index, true, false),
        Content::new(seed, index, false, false),
    ]
}

pub(super) fn name(end: usize) -> &'static str {
    if end == A { "A" } else { "B" }
}

/// Poll events by their names.
pub(super) fn event_names(events: i16) -> String {
    const NAMES: [(i16, &str); 6] = [
        (libc::POLLIN, "in"),
        (libc::POLLPRI, "pri"),
        (libc::POLLOUT, "out"),
        (libc::POLLRDHUP, "rdhup"),
        (libc::POLLHUP, "hup"),
        (libc::POLLERR, "err"),
    ];
    let names: Vec<_> = NAMES
        .iter()
        .filter(|(bit, _)| events & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "quiet".to_owned()
    } else {
        names.join("+")
    }
}
