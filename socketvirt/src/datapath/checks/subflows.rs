//! The script about Multipath TCP, whose subflows must never be enrolled.

use std::{
    io,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::sys::socket::{Backlog, SockaddrIn, bind, connect, listen};

use super::{Answer, error::CheckError, pair::Pair, sockets};

/// A Multipath connection in a mode that enrols at the handshake.
pub fn stay_off(pair: &mut Pair<'_>) -> Answer {
    let before = pair.all_enrolled();
    let (_listener, client, server) = connection()?;
    let enrolled = pair.all_enrolled() - before;
    sockets::send(&client, b"subflow", 0).map_err(CheckError::setup("send"))?;
    let read = sockets::read(&server, 7).map_err(CheckError::setup("read"))?;
    Ok(format!("{}, {enrolled} enrolled", sockets::text(&read)))
}

fn connection() -> Result<(TcpListener, TcpStream, TcpStream), CheckError> {
    let failed = |attempt| move |errno: nix::errno::Errno| CheckError::setup(attempt)(errno.into());
    let listener = multipath()?;
    let any = SockaddrIn::new(127, 0, 0, 1, 0);
    bind(listener.as_raw_fd(), &any).map_err(failed("bind"))?;
    listen(&listener, Backlog::MAXCONN).map_err(failed("listen"))?;
    let listener = TcpListener::from(listener);
    let address = listener
        .local_addr()
        .map_err(CheckError::setup("ask for a port"))?;
    let client = multipath()?;
    let there = SockaddrIn::new(127, 0, 0, 1, address.port());
    connect(client.as_raw_fd(), &there).map_err(failed("connect"))?;
    let (server, _) = listener.accept().map_err(CheckError::setup("accept"))?;
    Ok((listener, TcpStream::from(client), server))
}

fn multipath() -> Result<OwnedFd, CheckError> {
    // SAFETY: plain numbers.
    let fd = unsafe {
        libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            libc::IPPROTO_MPTCP,
        )
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EINVAL | libc::ENOPROTOOPT) => {
                CheckError::Absent("Multipath TCP")
            }
            _ => CheckError::setup("make a Multipath socket")(error),
        });
    }
    // SAFETY: a descriptor of the kernel's that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
