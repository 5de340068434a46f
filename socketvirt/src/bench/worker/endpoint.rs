//! Listening, connecting and accepting, for TCP and Unix sockets alike.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{self as unix, UnixListener, UnixStream},
    },
    process,
};

use crate::bench::{
    error::Error,
    naive,
    wire::{Address, Family, Lane, Work},
};

/// A listening socket of the peer.
#[derive(Debug)]
pub enum Listener {
    /// Of family [`Family::Tcp`].
    Tcp(TcpListener),
    /// Of family [`Family::Unix`].
    Unix(UnixListener),
}

impl Listener {
    /// Listens for a lane on a free port of `ip`, or on a name of its own.
    pub fn bind(lane: Lane, ip: IpAddr) -> Result<(Self, Address), Error> {
        match lane.family {
            Family::Tcp => {
                let listener = TcpListener::bind((ip, 0)).map_err(Error::io("listen"))?;
                let address = listener.local_addr().map_err(Error::io("getsockname"))?;
                Ok((Self::Tcp(listener), Address::Tcp(address)))
            }
            Family::Unix => {
                let name = format!(
                    "socketvirt-bench-{}-{:?}-{:?}",
                    process::id(),
                    lane.calls,
                    lane.work
                );
                let address = unix_address(&name)?;
                let listener = UnixListener::bind_addr(&address).map_err(Error::io("listen"))?;
                Ok((Self::Unix(listener), Address::Unix(name)))
            }
        }
    }

    /// Takes one connection.
    pub fn accept(&self, work: Work, naive: Option<u32>) -> Result<OwnedFd, Error> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().map_err(Error::io("accept"))?;
                prepare(&stream, work, naive)?;
                Ok(stream.into())
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().map_err(Error::io("accept"))?;
                Ok(stream.into())
            }
        }
    }
}

/// Connects to where a peer listens.
pub fn connect(address: &Target, work: Work, naive: Option<u32>) -> Result<OwnedFd, Error> {
    match address {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).map_err(Error::io("connect"))?;
            prepare(&stream, work, naive)?;
            Ok(stream.into())
        }
        Target::Unix(address) => UnixStream::connect_addr(address)
            .map(OwnedFd::from)
            .map_err(Error::io("connect")),
    }
}

/// An address that is ready to be connected to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Internet address and port.
    Tcp(SocketAddr),
    /// Abstract name.
    Unix(unix::SocketAddr),
}

impl Target {
    /// From what a peer said.
    pub fn new(address: Address) -> Result<Self, Error> {
        match address {
            Address::Tcp(address) => Ok(Self::Tcp(address)),
            Address::Unix(name) => unix_address(&name).map(Self::Unix),
        }
    }
}

/// Requests go out at once, as servers do it; streams keep Nagle's default.
fn prepare(stream: &TcpStream, work: Work, naive: Option<u32>) -> Result<(), Error> {
    if let Some(map) = naive {
        naive::enrol(map, stream)?;
    }
    match work {
        Work::RoundTrip => stream
            .set_nodelay(true)
            .map_err(Error::io("setsockopt(TCP_NODELAY)")),
        Work::Stream | Work::Connect | Work::Request => Ok(()),
    }
}

fn unix_address(name: &str) -> Result<unix::SocketAddr, Error> {
    unix::SocketAddr::from_abstract_name(name).map_err(Error::io("abstract Unix address"))
}
