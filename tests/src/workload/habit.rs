//! A program that does on its first connection what an enrolled socket
//! answers differently, and then connects again: where do the connections go?
//!
//! A further connection, to a service that nothing was shown to, runs in step
//! with the second one: when that one is redirected, the second has had the
//! same chance.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
    unistd::{getpid, pipe},
};

use super::{
    args::{Cli, Habit, Scenario, Shows},
    watchdog,
};
use crate::{net, place::Place};

const PACE: Duration = Duration::from_millis(4);
/// More than is redirected in one message.
const BULK: usize = 128 * 1024;
/// When to look again for a message that poll(2) does not tell of.
const SOON: Duration = Duration::from_millis(1);
/// Rounds after the further connection was redirected.
const MORE: u32 = 50;
const MESSAGE: [u8; 64] = [7; 64];

pub(crate) fn run(args: &Habit, deadline: u64) -> Result<()> {
    watchdog::start("habit", deadline);
    let place = any_place()?;
    let listener = net::open_listener(&Place {
        listen: args.listen,
        ..place.clone()
    })?;
    let other_listener = net::open_listener(&place)?;
    let open = |listener| Connection::open(&place, listener, !args.blocking);

    let mut first = open(&listener)?;
    if args.shows == Shows::Owner {
        first.own_signals()?;
    }
    // These are only seen on a redirected connection.
    if matches!(
        args.shows,
        Shows::Rcvlowat
            | Shows::HighMark
            | Shows::Blocks
            | Shows::Unread
            | Shows::ClosesSecond
            | Shows::UrgentSent
            | Shows::UrgentAsked
    ) {
        together(&mut [&mut first], 0)?;
    }
    first.show(args.shows)?;
    // A scan sees these, which takes as long as an adoption.
    if args.shows == Shows::UrgentCame {
        together(&mut [&mut open(&other_listener)?, &mut first], 0)?;
    }
    let was = first.path()?;
    if args.shows == Shows::ClosesSecond {
        first.close_client_first()?;
    } else {
        // The server closes first: it is told by its unread bytes alone.
        drop(first.server);
        drop(first.client);
    }

    let mut second = open(&listener)?;
    if args.shows == Shows::Owner {
        second.own_signals()?;
    }
    let mut other = open(&other_listener)?;
    together(&mut [&mut other, &mut second], MORE)?;
    println!(
        r#"{{"first":"{was}","second":"{}","other":"{}"}}"#,
        second.path()?,
        other.path()?
    );
    Ok(())
}

/// Connects until a connection is fast from its beginning: the first ones of a
/// program can come before it was inspected.
pub(crate) fn until_eager() -> Result<()> {
    let place = any_place()?;
    let listener = net::open_listener(&place)?;
    loop {
        let mut trial = Connection::open(&place, &listener, true)?;
        (0..3).try_for_each(|_| trial.exchange())?;
        if trial.path()? == "fast" {
            return Ok(());
        }
        thread::sleep(PACE);
    }
}

/// Exchanges until the first is redirected, and some rounds more.
fn together(connections: &mut [&mut Connection], more: u32) -> Result<()> {
    while connections[0].path()? == "stack" {
        step(connections)?;
    }
    (0..more).try_for_each(|_| step(connections))
}

fn step(connections: &mut [&mut Connection]) -> Result<()> {
    for connection in connections {
        connection.exchange()?;
    }
    thread::sleep(PACE);
    Ok(())
}

/// The place of a workload without any option.
fn any_place() -> Result<Place> {
    match Cli::try_parse_from(["workload", "streams"])?.scenario {
        Scenario::Streams(streams) => Ok(streams.place),
        _ => bail!("not the scenario that was asked for"),
    }
}

struct Connection {
    client: OwnedFd,
    server: OwnedFd,
    /// Bytes that the client has sent.
    sent: u64,
    /// True when poll(2) tells of a message.
    polled: bool,
}

impl Connection {
    fn open(place: &Place, listener: &OwnedFd, nonblocking: bool) -> Result<Self> {
        let address: SocketAddr = net::local_address(listener.as_fd())?;
        let (client, _) = net::connect_to(place, address, 0, nonblocking, &[])?;
        net::wait(listener.as_fd(), libc::POLLIN, u16::MAX)?;
        let server = net::accept(listener.as_fd(), place, nonblocking)?;
        Ok(Self {
            client,
            server,
            sent: 0,
            polled: true,
        })
    }

    /// A request and its answer.
    fn exchange(&mut self) -> Result<()> {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let sent = send(from.as_raw_fd(), &MESSAGE, MsgFlags::empty()).context("send")?;
            ensure!(sent == MESSAGE.len(), "{sent} bytes of a message were sent");
            let mut got = 0;
            while got < MESSAGE.len() {
                if self.polled {
                    net::wait(to.as_fd(), libc::POLLIN, u16::MAX)?;
                }
                match recv(to.as_raw_fd(), &mut [0; MESSAGE.len()], MsgFlags::empty()) {
                    Ok(bytes) => got += bytes,
                    Err(Errno::EAGAIN) if !self.polled => thread::sleep(SOON),
                    Err(error) => return Err(error).context("recv"),
                }
            }
        }
        self.sent += MESSAGE.len() as u64;
        Ok(())
    }

    /// Sets `SO_RCVLOWAT`, which it must have again once it has left.
    fn mark(&mut self, bytes: i32) -> Result<()> {
        let option = (libc::SOL_SOCKET, libc::SO_RCVLOWAT);
        net::set_int(&self.client, option.0, option.1, bytes).context("SO_RCVLOWAT")?;
        self.polled = usize::try_from(bytes)? <= MESSAGE.len();
        if !self.polled {
            self.bulk()?;
        }
        self.exchange_until_left()?;
        let now = net::get_int(&self.client, option.0, option.1).context("SO_RCVLOWAT")?;
        ensure!(now == bytes, "SO_RCVLOWAT is {now}");
        self.exchange()
    }

    /// A message for the client that is too large to be redirected.
    fn bulk(&self) -> Result<()> {
        let (bytes, mut buffer) = (vec![7; BULK], vec![0; BULK]);
        let (mut sent, mut got) = (0, 0);
        while got < BULK {
            match send(self.server.as_raw_fd(), &bytes[sent..], MsgFlags::empty()) {
                Ok(more) => sent += more,
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("send"),
            }
            match recv(self.client.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(more) => got += more,
                Err(Errno::EAGAIN) => thread::sleep(SOON),
                Err(error) => return Err(error).context("recv"),
            }
        }
        Ok(())
    }

    /// The client closes; the server reads to the end and closes too.
    fn close_client_first(self) -> Result<()> {
        drop(self.client);
        net::wait(self.server.as_fd(), libc::POLLIN, u16::MAX)?;
        let end = recv(self.server.as_raw_fd(), &mut [0], MsgFlags::empty()).context("recv")?;
        ensure!(end == 0, "a byte that nobody has sent");
        Ok(())
    }

    /// Exchanges until the client's socket is a plain one again: only an
    /// enrolled one answers 0 to a receive of no bytes when there are none.
    fn exchange_until_left(&mut self) -> Result<()> {
        loop {
            self.exchange()?;
            match recv(self.client.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT) {
                Ok(0) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                other => bail!("a receive of no bytes: {other:?}"),
            }
            thread::sleep(PACE);
        }
    }

    /// Does it, on the end of the client where it does not say otherwise.
    fn show(&mut self, what: Shows) -> Result<()> {
        match what {
            // Owner is shown from the beginning on.
            Shows::Nothing | Shows::Owner | Shows::ClosesSecond => self.exchange(),
            Shows::Splice => self.splice(),
            Shows::Rcvlowat => self.mark(16),
            Shows::HighMark => self.mark(2 * i32::try_from(BULK)?),
            Shows::Blocks => {
                net::set_blocking(&self.client)?;
                self.exchange_until_left()
            }
            Shows::WaitAll => self.receive_with(MsgFlags::MSG_WAITALL),
            Shows::Urgent | Shows::UrgentAsked => {
                // There is none, so plain TCP answers EINVAL; an enrolled
                // socket does not look at the flag.
                let answer = recv(self.client.as_raw_fd(), &mut [0], MsgFlags::MSG_OOB);
                ensure!(answer.is_err(), "MSG_OOB: {answer:?}");
                Ok(())
            }
            Shows::Discards => self.receive_with(MsgFlags::MSG_TRUNC),
            Shows::UrgentCame => Self::urgent(&self.server, &self.client),
            Shows::UrgentSent => {
                Self::urgent(&self.client, &self.server)?;
                self.exchange_until_left()
            }
            // The only habit of servers: a client that ends so is no news.
            Shows::Unread => {
                let sent = send(self.client.as_raw_fd(), &MESSAGE, MsgFlags::empty())?;
                ensure!(sent == MESSAGE.len(), "{sent} bytes of a message were sent");
                Ok(())
            }
        }
    }

    fn splice(&mut self) -> Result<()> {
        let (out, into) = pipe().context("pipe")?;
        send(self.server.as_raw_fd(), &MESSAGE, MsgFlags::empty()).context("send")?;
        net::wait(self.client.as_fd(), libc::POLLIN, u16::MAX)?;
        let moved = net::splice(&self.client, &into, MESSAGE.len(), 0).context("splice")?;
        drop(out);
        ensure!(moved == MESSAGE.len(), "{moved} bytes were spliced");
        Ok(())
    }

    /// Receives a message that is there.
    fn receive_with(&mut self, flags: MsgFlags) -> Result<()> {
        send(self.server.as_raw_fd(), &MESSAGE, MsgFlags::empty()).context("send")?;
        let got = recv(self.client.as_raw_fd(), &mut [0; MESSAGE.len()], flags).context("recv")?;
        ensure!(got == MESSAGE.len(), "{got} bytes were received");
        Ok(())
    }

    /// A byte of urgent data. Its reader looks for ordinary ones, of which
    /// plain TCP has none for it.
    fn urgent(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
        let sent = send(from.as_raw_fd(), &[7], MsgFlags::MSG_OOB).context("MSG_OOB")?;
        ensure!(sent == 1, "{sent} bytes of urgent data were sent");
        net::wait(to.as_fd(), libc::POLLIN | libc::POLLPRI, u16::MAX)?;
        match recv(to.as_raw_fd(), &mut [0; 2], MsgFlags::empty()) {
            Ok(1) | Err(Errno::EAGAIN) => Ok(()),
            answer => bail!("beside urgent data: {answer:?}"),
        }
    }

    /// Wants the signals of the client's socket, of which none comes.
    fn own_signals(&self) -> Result<()> {
        // SAFETY: takes no pointer.
        let result =
            unsafe { libc::fcntl(self.client.as_raw_fd(), libc::F_SETOWN, getpid().as_raw()) };
        Errno::result(result).context("F_SETOWN")?;
        Ok(())
    }

    /// Payload bytes of the client that the stack has carried.
    fn stack_bytes(&self) -> Result<u64> {
        Ok(net::tcp_info(&self.client)
            .context("TCP_INFO")?
            .tcpi_bytes_sent)
    }

    /// `fast` when at least one request was redirected.
    fn path(&self) -> Result<&'static str> {
        Ok(if self.stack_bytes()? < self.sent {
            "fast"
        } else {
            "stack"
        })
    }
}
