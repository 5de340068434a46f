//! The beginnings of connections, also anew.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, accept4,
    bind, connect, listen, sendto, socket,
};

use super::{
    step::{End, Opt},
    sys::{self, word},
    wire::{RECONNECTED, Wire, own},
};
use crate::net;

/// Listens on a port of its own.
pub(super) fn listener(options: &[(Opt, i32)]) -> Result<(OwnedFd, SocketAddr)> {
    let fd = new_socket()?;
    for (opt, value) in options {
        sys::set(fd.as_raw_fd(), *opt, *value).with_context(|| format!("listener {opt}"))?;
    }
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    bind(fd.as_raw_fd(), &SockaddrStorage::from(any)).context("bind")?;
    listen(&fd, Backlog::new(16).context("backlog")?).context("listen")?;
    let addr = net::local_address(fd.as_fd())?;
    Ok((fd, addr))
}

fn new_socket() -> Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Tcp,
    );
    let fd = fd.context("socket")?;
    sys::set(fd.as_raw_fd(), Opt::Nodelay, 1).context("TCP_NODELAY")?;
    Ok(fd)
}

/// `a` connects, `b` accepts.
pub(super) fn open(wire: &mut Wire) -> Result<()> {
    let fd = new_socket()?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(wire.addr)).context("connect")?;
    net::set_nonblocking(&fd)?;
    wire.side_mut(End::A).fd = Some(fd);
    accept(wire, End::B).context("accept")
}

pub(super) fn accept(wire: &mut Wire, end: End) -> Result<()> {
    let listener = wire.listener.as_ref().context("no listener")?;
    let fd = accept4(
        listener.as_raw_fd(),
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    let fd = own(usize::try_from(fd).context("a descriptor")?)?;
    sys::set(fd.as_raw_fd(), Opt::Nodelay, 1)?;
    wire.side_mut(end).fd = Some(fd);
    Ok(())
}

/// `connect(AF_UNSPEC)`.
pub(super) fn disconnect(wire: &mut Wire, end: End) -> String {
    let Some(fd) = wire.raw(end) else {
        return "no socket".to_owned();
    };
    let unspec = libc::sockaddr {
        sa_family: 0,
        sa_data: [0; 14],
    };
    let length = libc::socklen_t::try_from(size_of_val(&unspec)).unwrap_or(0);
    // SAFETY: pointer and length describe the local address.
    let answer = sys::of(unsafe { libc::connect(fd, &raw const unspec, length) });
    wire.side_mut(end.other()).end_due = true;
    word(answer)
}

/// connect(2) on the end's socket, or on a new one; a new connection's
/// bytes begin anew.
pub(super) fn again(wire: &mut Wire, end: End, size: usize) -> Result<String> {
    if wire.side(end).fd.is_none() {
        let fd = new_socket()?;
        wire.side_mut(end).fd = Some(fd);
    } else {
        // The old connection's other end is nobody's any more.
        wire.side_mut(end.other()).fd = None;
        wire.renew(RECONNECTED);
    }
    let fd = wire.raw(end).context("an end")?;
    let addr = SockaddrStorage::from(wire.addr);
    let result = if size > 0 {
        let mut bytes = vec![0; size];
        wire.side(end).content.fill(0, &mut bytes);
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        let sent = sendto(fd, &bytes, &addr, flags);
        wire.side_mut(end).sent += sent.unwrap_or(0) as u64;
        word(sent)
    } else {
        let answer = connect(fd, &addr);
        // It is complete when the socket is writable.
        let fd = wire.fd(end).context("an end")?;
        let ready = net::wait(fd, libc::POLLOUT, 5000).unwrap_or(0);
        format!("{} {}", word(answer.map(|()| 0)), sys::events(ready))
    };
    let fd = wire.side(end).fd.as_ref().context("an end")?;
    net::set_nonblocking(fd)?;
    Ok(result)
}
