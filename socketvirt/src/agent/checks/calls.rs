//! Scripts about options, flags and other calls of a program that is awake.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};

use super::{
    Answer,
    lab::CheckError,
    pair::Pair,
    sockets::{self, MOMENT, PATIENCE},
};

/// Not in the C library's headers: include/uapi/asm-generic/socket.h.
const SO_PEEK_OFF: i32 = 42;
const SO_ZEROCOPY: i32 = 60;
/// include/uapi/linux/tcp.h: the option, and its control message.
const TCP_INQ: i32 = 36;
/// include/linux/socket.h.
const MSG_ZEROCOPY: i32 = 0x400_0000;

/// Not more than a few messages fit, so this is less than any receive buffer.
const LOW_WATER: i32 = 8;

pub(super) fn set_low_water(end: &TcpStream) -> Result<(), CheckError> {
    sockets::set_socket(end, libc::SO_RCVLOWAT, LOW_WATER)
        .map_err(CheckError::setup("set SO_RCVLOWAT"))
}

pub(super) fn set_zero_copy(end: &TcpStream) -> Result<(), CheckError> {
    sockets::set_socket(end, SO_ZEROCOPY, 1).map_err(CheckError::setup("set SO_ZEROCOPY"))
}

pub(super) fn set_time_stamp(end: &TcpStream) -> Result<(), CheckError> {
    sockets::set_socket(end, libc::SO_TIMESTAMP, 1).map_err(CheckError::setup("set SO_TIMESTAMP"))
}

pub(super) fn set_inq(end: &TcpStream) -> Result<(), CheckError> {
    sockets::set(end.as_fd(), libc::IPPROTO_TCP, TCP_INQ, 1)
        .map_err(CheckError::setup("set TCP_INQ"))
}

/// TCP has the option from Linux 6.9 on.
pub(super) fn set_peek_offset(end: &TcpStream, offset: i32) -> Result<(), CheckError> {
    sockets::set_socket(end, SO_PEEK_OFF, offset).map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => CheckError::Absent("SO_PEEK_OFF for TCP"),
        _ => CheckError::setup("set SO_PEEK_OFF")(error),
    })
}

/// Has the kernel send `SIGURG` to this process, which ignores it.
pub(super) fn want_signals(end: &TcpStream) -> Result<(), CheckError> {
    let own = nix::unistd::getpid().as_raw();
    // SAFETY: plain numbers.
    match unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETOWN, own) } {
        0 => Ok(()),
        _ => Err(CheckError::setup("ask for signals")(
            io::Error::last_os_error(),
        )),
    }
}

/// Turns kTLS on, as far as the kernel does before it has keys.
pub(super) fn set_tls(end: &TcpStream) -> io::Result<()> {
    const TLS: &[u8] = b"tls";
    // SAFETY: the name lives during the call and its length is given.
    let answer = unsafe {
        libc::setsockopt(
            end.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_ULP,
            TLS.as_ptr().cast(),
            libc::socklen_t::try_from(TLS.len()).unwrap_or(0),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

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

/// Fewer bytes than `SO_RCVLOWAT` must not wake a reader.
pub fn low_water(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"few")?;
    set_low_water(&pair.server)?;
    let events = sockets::wait(&pair.server, libc::POLLIN, Duration::ZERO)
        .map_err(CheckError::setup("poll"))?;
    Ok(if events == 0 {
        "not readable"
    } else {
        "readable"
    }
    .into())
}

/// splice(2) out of the socket.
pub fn splice(pair: &mut Pair<'_>) -> Answer {
    // A blocking one would sleep, with bytes waiting.
    pair.nonblocking()?;
    pair.fast(b"piped")?;
    Ok(sockets::bytes(splice_out(&pair.server)?))
}

/// `SO_PEEK_OFF` is where a peek begins.
pub fn peek_offset(pair: &mut Pair<'_>) -> Answer {
    set_peek_offset(&pair.server, 2)?;
    pair.fast(b"peek")?;
    Ok(
        match sockets::recv(&pair.server, 4, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            Ok(bytes) => sockets::text(&bytes),
            Err(error) => sockets::errno(&error),
        },
    )
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
    let events = sockets::wait(&pair.server, libc::POLLIN, Duration::ZERO)
        .map_err(CheckError::setup("poll"))?;
    Ok(if events == 0 { "held" } else { "sent" }.into())
}

/// `SO_TIMESTAMP` comes with the bytes.
pub fn time_stamp(pair: &mut Pair<'_>) -> Answer {
    /// The kernel begins to stamp packets some time after the first socket
    /// has asked for it (`net_enable_timestamp`).
    const ATTEMPTS: u32 = 20;
    set_time_stamp(&pair.server)?;
    for _ in 0..ATTEMPTS {
        pair.fast(b"when")?;
        if with_control(&pair.server, (libc::SOL_SOCKET, libc::SO_TIMESTAMP))? {
            return Ok("time stamp".into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok("no time stamp".into())
}

/// `TCP_INQ` tells what is left.
pub fn inq(pair: &mut Pair<'_>) -> Answer {
    set_inq(&pair.server)?;
    pair.fast(b"some")?;
    let told = with_control(&pair.server, (libc::IPPROTO_TCP, TCP_INQ))?;
    Ok(if told { "told" } else { "not told" }.into())
}

fn with_control(end: &TcpStream, kind: (i32, i32)) -> Result<bool, CheckError> {
    sockets::recv_with_control(end, 4, kind).map_err(CheckError::setup("receive a message"))
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

/// A zero-copy send is completed in the error queue.
pub fn zero_copy(pair: &mut Pair<'_>) -> Answer {
    set_zero_copy(&pair.client)?;
    if let Err(error) = sockets::send(&pair.client, b"zero", MSG_ZEROCOPY) {
        return Ok(sockets::errno(&error));
    }
    let read = sockets::read(&pair.server, 4).map_err(CheckError::setup("read"))?;
    let events = sockets::wait(&pair.client, 0, MOMENT).map_err(CheckError::setup("poll"))?;
    let completed = events & libc::POLLERR != 0;
    Ok(format!(
        "{}, {}",
        sockets::text(&read),
        if completed {
            "completed"
        } else {
            "never completed"
        }
    ))
}

/// What `TCP_INFO` of the receiver counts.
pub fn counters(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"info")?;
    sockets::bytes_received(&pair.server)
        .map(|count| format!("{count} bytes"))
        .map_err(CheckError::setup("ask for TCP_INFO"))
}

/// What `SIOCOUTQ` says once everything has arrived.
pub fn unsent(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"sent")?;
    sockets::unsent_settled(&pair.client)
        .map(|count| format!("{count} bytes"))
        .map_err(CheckError::setup("ask for SIOCOUTQ"))
}

/// kTLS and a socket map exclude each other.
pub fn tls(pair: &mut Pair<'_>) -> Answer {
    match set_tls(&pair.client) {
        Ok(()) => Ok("accepted".into()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Err(CheckError::Absent("kTLS")),
        Err(error) => Ok(sockets::errno(&error)),
    }
}
