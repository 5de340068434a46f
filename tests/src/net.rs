//! Sockets, and the namespaces they are made in.

use std::{
    fs::File,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sched::{CloneFlags, setns},
    sys::socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage,
        accept4, bind, connect, getsockname, listen, sendto, setsockopt, socket, sockopt,
    },
};

use crate::place::{Family, Place};

/// Moves the calling thread, and those it starts, into a namespace.
pub(crate) fn enter(name: Option<&String>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let path = format!("/run/netns/{name}");
    let file = File::open(&path).with_context(|| format!("open {path}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {path}"))
}

/// A TCP socket of the address's family.
pub(crate) fn new_socket(addr: SocketAddr) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Tcp,
    )
    .context("socket")
}

fn buffers(fd: &OwnedFd, place: &Place) -> Result<()> {
    if let Some(size) = place.sndbuf {
        setsockopt(fd, sockopt::SndBuf, &size).context("SO_SNDBUF")?;
    }
    if let Some(size) = place.rcvbuf {
        setsockopt(fd, sockopt::RcvBuf, &size).context("SO_RCVBUF")?;
    }
    Ok(())
}

/// Opens the listener.
pub(crate) fn open_listener(place: &Place) -> Result<OwnedFd> {
    let default = match place.family {
        Family::V4 => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        Family::V6 => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0),
        Family::Mapped => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    let addr = place.listen.unwrap_or(default);
    let fd = new_socket(addr)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).context("SO_REUSEADDR")?;
    buffers(&fd, place)?;
    if place.defer_accept {
        set_int(&fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5).context("TCP_DEFER_ACCEPT")?;
    }
    if place.fastopen {
        set_int(&fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 64).context("TCP_FASTOPEN")?;
    }
    if place.timestamp {
        set_int(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1).context("SO_TIMESTAMP")?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(addr)).with_context(|| format!("bind {addr}"))?;
    listen(&fd, Backlog::new(1024).context("backlog")?).context("listen")?;
    Ok(fd)
}

/// The address that a socket is bound to.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> Result<SocketAddr> {
    let addr: SockaddrStorage = getsockname(fd.as_raw_fd()).context("getsockname")?;
    if let Some(v4) = addr.as_sockaddr_in() {
        return Ok(SocketAddr::V4((*v4).into()));
    }
    let v6 = addr
        .as_sockaddr_in6()
        .context("getsockname: neither IPv4 nor IPv6")?;
    Ok(SocketAddr::V6((*v6).into()))
}

/// Accepts one connection.
pub(crate) fn accept(
    listener: BorrowedFd<'_>,
    place: &Place,
    nonblocking: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = SockFlag::SOCK_CLOEXEC;
    if nonblocking {
        flags |= SockFlag::SOCK_NONBLOCK;
    }
    let raw = accept4(listener.as_raw_fd(), flags)?;
    let fd = own(raw);
    setsockopt(&fd, sockopt::TcpNoDelay, &!place.nagle)?;
    Ok(fd)
}

fn own(raw: RawFd) -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: accept4 just returned this descriptor and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Where connection `index` connects to, given where the server listens.
fn target(place: &Place, server: SocketAddr, index: u32) -> SocketAddr {
    if let Some(mut addr) = place.connect {
        if addr.port() == 0 {
            addr.set_port(server.port());
        }
        return addr;
    }
    let ip: IpAddr = match place.family {
        Family::Mapped if index.is_multiple_of(2) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        Family::Mapped => Ipv4Addr::LOCALHOST.into(),
        _ => server.ip(),
    };
    SocketAddr::new(ip, server.port())
}

/// Connects connection `index`. With Fast Open, `first` is what goes with the
/// SYN; the number of bytes accepted is returned.
pub(crate) fn connect_to(
    place: &Place,
    server: SocketAddr,
    index: u32,
    nonblocking: bool,
    first: &[u8],
) -> Result<(OwnedFd, usize)> {
    let addr = target(place, server, index);
    let fd = new_socket(addr)?;
    buffers(&fd, place)?;
    setsockopt(&fd, sockopt::TcpNoDelay, &!place.nagle).context("TCP_NODELAY")?;
    if let Some(base) = place.client_port {
        setsockopt(&fd, sockopt::ReuseAddr, &true).context("SO_REUSEADDR")?;
        let ip: IpAddr = if addr.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let port = base.wrapping_add(u16::try_from(index).context("client port")?);
        bind(
            fd.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(ip, port)),
        )
        .with_context(|| format!("bind client port {port}"))?;
    }
    let storage = SockaddrStorage::from(addr);
    let sent = if place.fastopen {
        sendto(
            fd.as_raw_fd(),
            first,
            &storage,
            MsgFlags::from_bits_retain(libc::MSG_FASTOPEN),
        )
        .with_context(|| format!("connect to {addr} with Fast Open"))?
    } else {
        connect(fd.as_raw_fd(), &storage).with_context(|| format!("connect to {addr}"))?;
        0
    };
    if nonblocking {
        set_nonblocking(&fd)?;
    }
    Ok((fd, sent))
}

/// Sets `O_NONBLOCK`.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).context("O_NONBLOCK")?;
    Ok(())
}

/// Takes `O_NONBLOCK` away.
pub(crate) fn set_blocking(fd: &OwnedFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_RDWR)).context("O_NONBLOCK")?;
    Ok(())
}

/// Sets an integer option that nix has no name for.
pub(crate) fn set_int(fd: &OwnedFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    // SAFETY: the pointer and the length describe the local integer.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4),
        )
    };
    Errno::result(result).map(drop)
}

pub(crate) fn get_int(fd: &OwnedFd, level: i32, name: i32) -> Result<i32, Errno> {
    let mut value = 0;
    let mut length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4);
    // SAFETY: the pointers describe the local integer and its length.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    Errno::result(result).map(|_| value)
}

/// Sets an option that is an array of 32-bit words.
pub(crate) fn set_words(fd: &OwnedFd, level: i32, name: i32, words: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length describe the words.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            words.as_ptr().cast(),
            libc::socklen_t::try_from(size_of_val(words)).unwrap_or(0),
        )
    };
    Errno::result(result).map(drop)
}

/// Asks for one.
pub(crate) fn get_words(
    fd: &OwnedFd,
    level: i32,
    name: i32,
    words: &mut [u32],
) -> Result<(), Errno> {
    let mut length = libc::socklen_t::try_from(size_of_val(words)).unwrap_or(0);
    // SAFETY: the pointers describe the words and their length.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            words.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result).map(drop)
}

/// Reads `TCP_INFO` (include/uapi/linux/tcp.h); fields that the kernel
/// does not know are 0.
pub(crate) fn tcp_info(fd: &impl AsRawFd) -> Result<libc::tcp_info, Errno> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: the pointers describe the local structure and its length.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    // SAFETY: integers only, for which zero is a value.
    Ok(unsafe { info.assume_init() })
}

/// splice(2) between a socket and a pipe.
///
/// Not by the C library, whose function this program would import: sockets of
/// programs that do are never enrolled.
pub(crate) fn splice(
    from: &impl AsRawFd,
    into: &impl AsRawFd,
    len: usize,
    flags: u32,
) -> Result<usize, Errno> {
    let none = std::ptr::null_mut::<libc::loff_t>();
    // SAFETY: takes no pointer but the two that are null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_splice,
            from.as_raw_fd(),
            none,
            into.as_raw_fd(),
            none,
            len,
            flags,
        )
    };
    Errno::result(result).map(|moved| usize::try_from(moved).unwrap_or(0))
}

/// Returns the bytes that FIONREAD reports.
pub(crate) fn readable_bytes(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut count: i32 = 0;
    // SAFETY: FIONREAD writes one int to the pointer, which is a local one.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    Errno::result(result)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Sets `TCP_NOTSENT_LOWAT` to no limit, which is the default; the kernel tells of
/// room to send (`do_tcp_setsockopt`).
pub(crate) fn tell_room(fd: &OwnedFd) -> Result<(), Errno> {
    let none = u32::MAX;
    // SAFETY: the pointer and the size describe the local number.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const none).cast(),
            libc::socklen_t::try_from(size_of_val(&none)).unwrap_or(0),
        )
    };
    Errno::result(result).map(drop)
}

/// Waits for `POLL*` events on one descriptor; 0 when the time is over.
pub(crate) fn wait(fd: BorrowedFd<'_>, events: i16, ms: u16) -> Result<i16, Errno> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the pointer and the count describe the one local entry.
    let result = unsafe { libc::poll(&raw mut entry, 1, i32::from(ms)) };
    Errno::result(result)?;
    Ok(entry.revents)
}
