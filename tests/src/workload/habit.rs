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
    args::{Cli, Habit, Place, Scenario, Shows},
    net, watchdog,
};

/// Rounds, at [`PACE`], in which a connection that may be redirected is.
const PATIENCE: u32 = 6000;
const PACE: Duration = Duration::from_millis(4);
/// Rounds after the further connection was redirected.
const MORE: u32 = 50;
const MESSAGE: [u8; 64] = [7; 64];

pub(crate) fn run(args: &Habit, deadline: u64) -> Result<()> {
    watchdog::start("habit", deadline);
    let place = any_place()?;
    let listener = net::open_listener(&place)?;
    let other_listener = net::open_listener(&place)?;
    let open = |listener| Connection::open(&place, listener, !args.blocking);

    // What is shown in eager mode: blocking sockets are not adopted later.
    if matches!(args.shows, Shows::WaitAll | Shows::Urgent) {
        until_eager(&place)?;
    }
    let mut first = open(&listener)?;
    if args.shows == Shows::Owner {
        first.own_signals()?;
    }
    // What is only seen on a redirected connection.
    if matches!(args.shows, Shows::Rcvlowat | Shows::Blocks | Shows::Unread) {
        together(&mut [&mut first], 0)?;
    }
    first.show(args.shows)?;
    let was = first.path()?;
    // The server closes first: it is told by its unread bytes alone.
    drop(first.server);
    drop(first.client);

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
/// program can come before it was looked at.
fn until_eager(place: &Place) -> Result<()> {
    let listener = net::open_listener(place)?;
    for _ in 0..PATIENCE {
        let mut trial = Connection::open(place, &listener, true)?;
        (0..3).try_for_each(|_| trial.exchange())?;
        if trial.path()? == "fast" {
            return Ok(());
        }
        thread::sleep(PACE);
    }
    bail!("nothing is redirected at the handshake")
}

/// Exchanges until the first is redirected, and some rounds more.
fn together(connections: &mut [&mut Connection], more: u32) -> Result<()> {
    let mut rounds = 0;
    while connections[0].path()? == "stack" {
        ensure!(rounds < PATIENCE, "nothing is redirected");
        step(connections)?;
        rounds += 1;
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
        })
    }

    /// A request and its answer.
    fn exchange(&mut self) -> Result<()> {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let sent = send(from.as_raw_fd(), &MESSAGE, MsgFlags::empty()).context("send")?;
            ensure!(sent == MESSAGE.len(), "{sent} bytes of a message were sent");
            let mut got = 0;
            while got < MESSAGE.len() {
                net::wait(to.as_fd(), libc::POLLIN, u16::MAX)?;
                got += recv(to.as_raw_fd(), &mut [0; MESSAGE.len()], MsgFlags::empty())
                    .context("recv")?;
            }
        }
        self.sent += MESSAGE.len() as u64;
        Ok(())
    }

    /// Exchanges until a request has gone by the stack again.
    fn exchange_until_released(&mut self) -> Result<()> {
        for _ in 0..PATIENCE {
            let before = self.stack_bytes()?;
            self.exchange()?;
            if self.stack_bytes()? > before {
                return Ok(());
            }
            thread::sleep(PACE);
        }
        bail!("the connection is not released")
    }

    /// Does it, on the end of the client where it does not say otherwise.
    fn show(&mut self, what: Shows) -> Result<()> {
        match what {
            // Owner is shown from the beginning on.
            Shows::Nothing | Shows::Owner => self.exchange(),
            Shows::Splice => self.splice(),
            Shows::Rcvlowat => {
                net::set_int(&self.client, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 16)
                    .context("SO_RCVLOWAT")?;
                self.exchange_until_released()
            }
            Shows::Blocks => {
                net::set_blocking(&self.client)?;
                self.exchange_until_released()
            }
            Shows::WaitAll => self.receive_with(MsgFlags::MSG_WAITALL),
            Shows::Urgent => {
                // There is none, so plain TCP answers EINVAL; an enrolled
                // socket does not look at the flag.
                let answer = recv(self.client.as_raw_fd(), &mut [0], MsgFlags::MSG_OOB);
                ensure!(answer.is_err(), "MSG_OOB: {answer:?}");
                Ok(())
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
