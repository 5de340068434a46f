//! Scripts about flags and other calls of a program that is awake.

use std::{io, net::TcpStream, os::fd::AsRawFd as _, time::Duration};

use nix::{fcntl::OFlag, unistd::pipe2};

use super::{
    Answer,
    error::CheckError,
    pair::Pair,
    sockets::{self, PATIENCE},
};

/// Takes what waits through a pipe.
pub(super) fn splice_out(end: &TcpStream) -> Result<io::Result<usize>, CheckError> {
    let (_read, write) =
        pipe2(OFlag::O_CLOEXEC).map_err(|errno| CheckError::setup("make a pipe")(errno.into()))?;
    let none = std::ptr::null_mut::<libc::loff_t>();
    // Not by the C library, whose function this program would import: a
    // cgroup in which a program does is left alone, see `executable`.
    // SAFETY: no offsets; both descriptors are open.
    let count = unsafe {
        libc::syscall(
            libc::SYS_splice,
            end.as_raw_fd(),
            none,
            write.as_raw_fd(),
            none,
            64_usize,
            libc::SPLICE_F_NONBLOCK,
        )
    };
    Ok(usize::try_from(count).map_err(|_| io::Error::last_os_error()))
}

/// True when the server is told of something at this moment.
pub(super) fn is_readable(pair: &Pair<'_>) -> Result<bool, CheckError> {
    let events = sockets::wait(&pair.server, libc::POLLIN, Duration::ZERO)
        .map_err(CheckError::setup("poll"))?;
    Ok(events != 0)
}

/// splice(2) out of the socket.
pub fn splice(pair: &mut Pair<'_>) -> Answer {
    // A blocking one would sleep, with bytes waiting.
    pair.nonblocking()?;
    pair.fast(b"piped")?;
    Ok(sockets::bytes(splice_out(&pair.server)?))
}

/// `MSG_TRUNC` discards without a buffer.
pub fn discard(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"gone")?;
    Ok(sockets::bytes(sockets::discard(&pair.server, 4)))
}

/// `MSG_MORE` holds bytes back until more comes.
pub fn more(pair: &mut Pair<'_>) -> Answer {
    // Where only what makes it the stack's may be the reason that it is.
    pair.fast(b"fast")?;
    sockets::read(&pair.server, 4).map_err(CheckError::setup("read"))?;
    sockets::send(&pair.client, b"more", libc::MSG_MORE).map_err(CheckError::setup("send"))?;
    Ok(if is_readable(pair)? { "sent" } else { "held" }.into())
}

/// A byte of urgent data, which is not among the others.
pub fn urgent(pair: &mut Pair<'_>) -> Answer {
    sockets::send(&pair.client, b"!", libc::MSG_OOB).map_err(CheckError::setup("send"))?;
    let events = sockets::wait(&pair.server, libc::POLLIN | libc::POLLPRI, PATIENCE)
        .map_err(CheckError::setup("poll"))?;
    let seen = if events & libc::POLLPRI != 0 {
        "urgent"
    } else {
        "not urgent"
    };
    let read = sockets::recv(&pair.server, 4, libc::MSG_DONTWAIT);
    Ok(match read {
        Ok(_) => format!("{seen}, also normal data"),
        Err(_) => seen.into(),
    })
}

/// `TCP_INFO` of the receiver counts every byte and segment.
pub fn counters(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"info")?;
    sockets::bytes_received(&pair.server)
        .map(|count| format!("{count} bytes"))
        .map_err(CheckError::setup("ask for TCP_INFO"))
}

/// `SIOCOUTQ` says 0 once everything has arrived.
pub fn unsent(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"sent")?;
    sockets::unsent_settled(&pair.client)
        .map(|count| format!("{count} bytes"))
        .map_err(CheckError::setup("ask for SIOCOUTQ"))
}
