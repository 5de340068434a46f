//! Scripts about options of a socket.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::Duration,
};

use super::{
    Answer,
    calls::is_readable,
    error::CheckError,
    pair::Pair,
    sockets::{self, MOMENT},
};
use crate::host::mapping::Mapping;

/// Not in the C library's headers: include/uapi/asm-generic/socket.h.
const SO_PEEK_OFF: i32 = 42;
const SO_ZEROCOPY: i32 = 60;

/// include/uapi/linux/tcp.h: the option, and its control message.
const TCP_INQ: i32 = 36;

/// include/uapi/linux/tcp.h.
const TCP_ZEROCOPY_RECEIVE: i32 = 35;

/// include/linux/socket.h.
const MSG_ZEROCOPY: i32 = 0x400_0000;

/// Bytes a second: a message of a few is many milliseconds on its way.
const RATE: i32 = 1000;

/// Segments that go without a pause at first (`tcp_update_skb_after_send`,
/// `net/ipv4/tcp_output.c`).
const UNPACED: usize = 10;

/// A page at least, on any machine.
const MAPPED: usize = 1 << 16;

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

/// Lets through this many bytes of a packet (`BPF_RET | BPF_K`,
/// include/uapi/linux/filter.h); without any, it is dropped.
pub(super) fn set_filter(end: &TcpStream, bytes: u32) -> Result<(), CheckError> {
    sockets::set_filter(end, &[(0x06, bytes)]).map_err(CheckError::setup("set SO_ATTACH_FILTER"))
}

pub(super) fn set_pacing(end: &TcpStream) -> Result<(), CheckError> {
    sockets::set_socket(end, libc::SO_MAX_PACING_RATE, RATE)
        .map_err(CheckError::setup("set SO_MAX_PACING_RATE"))
}

/// Maps the server's socket.
pub(super) fn map(pair: &mut Pair<'_>) -> Result<(), CheckError> {
    let mapping =
        Mapping::of(pair.server.as_fd(), MAPPED).map_err(CheckError::setup("map a socket"))?;
    pair.mapping = Some(mapping);
    Ok(())
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

/// Fewer bytes than `SO_RCVLOWAT` must not wake a reader.
pub fn low_water(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"few")?;
    set_low_water(&pair.server)?;
    Ok(if is_readable(pair)? {
        "readable"
    } else {
        "not readable"
    }
    .into())
}

/// A filter that lets nothing through.
pub fn filter(pair: &mut Pair<'_>) -> Answer {
    // Where only the filter can be in the way.
    pair.fast(b"fast")?;
    sockets::read(&pair.server, 4).map_err(CheckError::setup("read"))?;
    set_filter(&pair.server, 0)?;
    pair.send(b"kept away")?;
    Ok(if is_readable(pair)? {
        "arrives"
    } else {
        "kept away"
    }
    .into())
}

/// `SO_MAX_PACING_RATE` holds back what is too much.
pub fn pacing(pair: &mut Pair<'_>) -> Answer {
    set_pacing(&pair.client)?;
    // The last of these uses the rate up for seconds.
    for length in [[1; UNPACED].as_slice(), &[4 * RATE as usize]].concat() {
        pair.fast(&vec![0; length])?;
        sockets::read(&pair.server, length).map_err(CheckError::setup("read"))?;
    }
    pair.send(b"late")?;
    Ok(if is_readable(pair)? {
        "at once"
    } else {
        "held"
    }
    .into())
}

/// `TCP_ZEROCOPY_RECEIVE` tells how much there is to be had.
pub fn zero_copy_receive(pair: &mut Pair<'_>) -> Answer {
    map(pair)?;
    pair.fast(b"mapped")?;
    // `struct tcp_zerocopy_receive`, include/uapi/linux/tcp.h: the address (8
    // bytes), what was mapped there, what is to be received otherwise.
    let mut wanted = [0_u8; 16];
    sockets::get(
        &pair.server,
        libc::IPPROTO_TCP,
        TCP_ZEROCOPY_RECEIVE,
        &mut wanted,
    )
    .map_err(CheckError::setup("ask for TCP_ZEROCOPY_RECEIVE"))?;
    let word = |at: usize| {
        u32::from_ne_bytes([wanted[at], wanted[at + 1], wanted[at + 2], wanted[at + 3]])
    };
    Ok(format!("{} bytes", word(8) + word(12)))
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

/// kTLS and a socket map exclude each other.
pub fn tls(pair: &mut Pair<'_>) -> Answer {
    match set_tls(&pair.client) {
        Ok(()) => Ok("accepted".into()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Err(CheckError::Absent("kTLS")),
        Err(error) => Ok(sockets::errno(&error)),
    }
}
