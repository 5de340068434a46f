//! A connection that a check is tried on.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use socketvirt_common::{
    reason::Reason,
    record::{config::Mode, flow::Flow, pair::Enrolment},
};

use super::{
    error::CheckError,
    sockets::{self, PATIENCE},
};
use crate::{
    datapath::{config::ConfigMap, load::DataPath, tiers::Tiers},
    host::mapping::Mapping,
};

/// Rounds within which a suitable pair is adopted, or an unsuitable one
/// released; either takes a few.
pub(super) const ROUNDS: u32 = 24;

/// Exchanges before each round: enough to be worth it.
const EXCHANGES: u32 = 2 * socketvirt_common::rule::worth::MIN_EXCHANGES;

/// The time by which a round moves looks on: pairs that wait have waited enough.
const LATER: Duration = Duration::from_secs(1);

/// Both ends of a connection to a listener: client, server.
fn connection(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

/// A connection on the loopback of the lab's namespace. Bytes flow from the
/// client to the server, except where a script says otherwise.
pub struct Pair<'a> {
    pub(super) listener: TcpListener,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    /// A mapping of an end, by a script.
    pub(super) mapping: Option<Mapping>,
    mode: Mode,
    datapath: &'a DataPath,
    config: &'a mut ConfigMap,
    tiers: &'a mut Tiers,
}

impl<'a> Pair<'a> {
    /// A connection of a program to itself, while `mode` is set.
    pub(super) fn open(
        mode: Mode,
        datapath: &'a DataPath,
        config: &'a mut ConfigMap,
        tiers: &'a mut Tiers,
    ) -> Result<Self, CheckError> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(CheckError::setup("listen"))?;
        let (client, server) =
            connection(&listener).map_err(CheckError::setup("connect to itself"))?;
        Ok(Self {
            listener,
            client,
            server,
            mapping: None,
            mode,
            datapath,
            config,
            tiers,
        })
    }

    /// True when the pair is to be accelerated.
    fn is_plain(&self) -> bool {
        self.mode == Mode::Off
    }

    /// Returns the data path's record of an end.
    pub(super) fn flow(&self, end: &TcpStream) -> Result<Option<Flow>, CheckError> {
        let flow = self.datapath.flows()?.get(end, 0).ok();
        Ok(flow.and_then(|flow| flow.value().ok()))
    }

    fn fast_messages(&self, end: &TcpStream) -> Result<u64, CheckError> {
        Ok(self.flow(end)?.map_or(0, |flow| flow.total.fast_messages))
    }

    /// Sends from the client; an enrolled pair must redirect it. When this
    /// returns, the bytes are in the server's queue.
    pub(super) fn fast(&self, bytes: &[u8]) -> Result<(), CheckError> {
        self.fast_between(&self.client, &self.server, bytes)
    }

    /// The same between any two ends.
    pub(super) fn fast_between(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        bytes: &[u8],
    ) -> Result<(), CheckError> {
        if self.is_plain() {
            return send_by_stack(from, to, bytes);
        }
        let before = self.fast_messages(from)?;
        send(from, bytes)?;
        if self.fast_messages(from)? == before {
            return Err(CheckError::NotRedirected);
        }
        Ok(())
    }

    /// Sends from the client by the stack. When this returns, the bytes have
    /// reached the server.
    pub(super) fn stack(&mut self, bytes: &[u8]) -> Result<(), CheckError> {
        // The one switch that sends everything by the stack and releases
        // nothing.
        self.config.change(|config| config.memory_pressure = 1)?;
        let sent = send_by_stack(&self.client, &self.server, bytes);
        self.config.change(|config| config.memory_pressure = 0)?;
        sent
    }

    /// Sends from the client by whatever path, and says whether it was
    /// redirected.
    pub(super) fn either(&self, bytes: &[u8]) -> Result<bool, CheckError> {
        if self.is_plain() {
            send_by_stack(&self.client, &self.server, bytes)?;
            return Ok(false);
        }
        let before = self.fast_messages(&self.client)?;
        send(&self.client, bytes)?;
        Ok(self.fast_messages(&self.client)? > before)
    }

    /// Sends from the client, by whatever path.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), CheckError> {
        send(&self.client, bytes)
    }

    /// Closes the client's socket.
    pub(super) fn close_client(&mut self) -> Result<(), CheckError> {
        self.client = self.no_connection()?;
        Ok(())
    }

    /// Closes the server's socket.
    pub(super) fn close_server(&mut self) -> Result<(), CheckError> {
        self.server = self.no_connection()?;
        Ok(())
    }

    /// Another connection of the same two programs, in place of this one.
    pub(super) fn again(&mut self) -> Result<(), CheckError> {
        (self.client, self.server) =
            connection(&self.listener).map_err(CheckError::setup("connect again"))?;
        Ok(())
    }

    /// Stands where a connection was that is closed.
    fn no_connection(&self) -> Result<TcpStream, CheckError> {
        self.listener
            .try_clone()
            .map(|listener| OwnedFd::from(listener).into())
            .map_err(CheckError::setup("duplicate a socket"))
    }

    /// Number of enrolled sockets.
    pub(super) fn all_enrolled(&self) -> usize {
        self.tiers.enrolled()
    }

    /// Both ends non-blocking, as programs are whose sockets are adopted.
    pub(super) fn nonblocking(&self) -> Result<(), CheckError> {
        for end in [&self.client, &self.server] {
            end.set_nonblocking(true)
                .map_err(CheckError::setup("set O_NONBLOCK"))?;
        }
        Ok(())
    }

    /// Requests and responses, then one round of the tiers.
    pub(super) fn exchange_and_look(&mut self) -> Result<(), CheckError> {
        for _ in 0..EXCHANGES {
            for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
                send(from, b"to be adopted by")?;
                let got = sockets::read(to, 16).map_err(CheckError::setup("read"))?;
                if got != b"to be adopted by" {
                    return Err(CheckError::NotEnrolled(format!(
                        "{} of 16 bytes arrived while the pair was to be adopted",
                        got.len()
                    )));
                }
            }
        }
        self.tiers.later += LATER;
        self.tiers.sweep()?;
        if self.tiers.shared().uninspected > 0 {
            self.tiers.trust(std::process::id())?;
        }
        self.tiers.look()?;
        let waiting = self.tiers.shared().waiting;
        if waiting > 0 {
            // All in the namespace of the calling thread.
            self.tiers.walk(waiting)?;
        }
        Ok(())
    }

    /// Returns the enrolment of an end.
    pub(super) fn enrolment(&self, end: &TcpStream) -> Result<Enrolment, CheckError> {
        Ok(self
            .flow(end)?
            .map_or(Enrolment::None, |flow| flow.enrolment))
    }

    /// Returns the reason that an end is on the stack.
    pub(super) fn reason(&self, end: &TcpStream) -> Result<Reason, CheckError> {
        let cookie = sockets::cookie(end).map_err(CheckError::setup("ask for SO_COOKIE"))?;
        Ok(self.tiers.reason(cookie)?.unwrap_or(Reason::PeerNotHere))
    }

    /// True when both ends are enrolled.
    pub(super) fn both_enrolled(&self) -> Result<bool, CheckError> {
        Ok(self.enrolment(&self.client)?.is_active() && self.enrolment(&self.server)?.is_active())
    }

    /// True when neither end is.
    pub(super) fn neither_enrolled(&self) -> Result<bool, CheckError> {
        Ok(self.enrolment(&self.client)? == Enrolment::None
            && self.enrolment(&self.server)? == Enrolment::None)
    }

    /// Has a non-blocking pair adopted; nothing happens to a plain one.
    pub(super) fn adopt(&mut self) -> Result<(), CheckError> {
        if self.is_plain() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            self.exchange_and_look()?;
            if self.both_enrolled()? {
                return Ok(());
            }
        }
        let reason = self.reason(&self.server)?.word();
        Err(CheckError::NotEnrolled(format!(
            "a suitable pair was not adopted in {ROUNDS} rounds: reason {reason}"
        )))
    }

    /// Has the tiers release what they have adopted.
    pub(super) fn drain(&mut self) -> Result<bool, CheckError> {
        self.config.change(|config| config.draining = 1)?;
        let mut left = false;
        for _ in 0..ROUNDS {
            self.exchange_and_look()?;
            left = self.neither_enrolled()?;
            if left {
                break;
            }
        }
        self.config.change(|config| config.draining = 0)?;
        Ok(left)
    }
}

fn send(from: &TcpStream, bytes: &[u8]) -> Result<(), CheckError> {
    let mut from = from;
    from.write_all(bytes).map_err(CheckError::setup("send"))
}

/// Sends and waits until the receiver's TCP has the bytes.
fn send_by_stack(from: &TcpStream, to: &TcpStream, bytes: &[u8]) -> Result<(), CheckError> {
    let arrived = || sockets::bytes_received(to).map_err(CheckError::setup("ask for TCP_INFO"));
    let before = arrived()?;
    send(from, bytes)?;
    let deadline = Instant::now() + PATIENCE;
    while arrived()? < before + bytes.len() as u64 {
        if Instant::now() >= deadline {
            return Err(CheckError::Setup {
                attempt: "send by the stack",
                source: io::ErrorKind::TimedOut.into(),
            });
        }
        thread::yield_now();
    }
    // Bytes that have arrived wake readers a moment later.
    sockets::wait(to, libc::POLLIN | libc::POLLPRI, PATIENCE).map_err(CheckError::setup("poll"))?;
    Ok(())
}
