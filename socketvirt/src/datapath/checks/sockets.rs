//! The socket calls of the checks, which the standard library does not have
//! or not in the form needed.

use std::{
    io,
    net::{Ipv4Addr, TcpStream},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    ptr,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// The longest that a check waits for what must come. On a host that has no CPU to
/// spare that takes its time, and a defect found there would be none.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest that it waits for what may never come.
pub const MOMENT: Duration = Duration::from_millis(60);

/// `SO_MEMINFO`, include/uapi/asm-generic/socket.h.
const SO_MEMINFO: libc::c_int = 55;
/// `SK_MEMINFO_VARS`, `include/uapi/linux/sock_diag.h`.
const MEMINFO_WORDS: usize = 9;
/// `tcpi_bytes_received` of `struct tcp_info`, include/uapi/linux/tcp.h: its
/// offset, and the size of the structure up to its end.
const BYTES_RECEIVED: usize = 128;
const TCP_INFO_SIZE: usize = BYTES_RECEIVED + 8;

/// The answer of a call that failed.
pub fn errno(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |number| format!("{:?}", Errno::from_raw(number)),
    )
}

/// Bytes as an answer.
pub fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "end of file".into()
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// A count of bytes, or the error, as an answer.
pub fn bytes(result: io::Result<usize>) -> String {
    match result {
        Ok(count) => format!("{count} bytes"),
        Err(error) => errno(&error),
    }
}

fn succeeded(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn counted(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Sets `IFF_UP` on `lo` of this thread's namespace.
pub fn loopback_up() -> io::Result<()> {
    /// `IFF_UP`, include/uapi/linux/if.h, as wide as the request has it.
    const IFF_UP: libc::c_short = 1;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: integers and an array of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: the request lives during the call and has the call's type.
    succeeded(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// Waits for events; those there are, 0 when there were none in time.
pub fn wait(fd: impl AsFd, events: i16, patience: Duration) -> io::Result<i16> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::from_bits_retain(events))];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    poll(&mut fds, patience)?;
    Ok(fds[0].revents().map_or(0, |events| events.bits()))
}

/// `FIONREAD`: bytes that can be read. Given a moment to become `expected`, as
/// what takes the stack may still be under way to the queue that is asked.
pub fn readable_settled(socket: &TcpStream, expected: i32) -> io::Result<i32> {
    settled(socket, libc::FIONREAD, expected)
}

/// `SIOCOUTQ`: bytes that are not acknowledged. Given a moment to become 0,
/// longer than an acknowledgement may be held back (`TCP_DELACK_MIN`, 40 ms).
pub fn unsent_settled(socket: &TcpStream) -> io::Result<i32> {
    settled(socket, libc::TIOCOUTQ, 0)
}

/// Beside many busy programs a moment may pass before the kernel's own threads
/// have had a turn. So this thread also gives them turns, as many as on an idle
/// host take no time.
fn settled(socket: &TcpStream, request: libc::Ioctl, expected: i32) -> io::Result<i32> {
    const TURNS: u32 = 100;
    let deadline = Instant::now() + MOMENT;
    let mut turns = 0;
    loop {
        let mut count = 0;
        // SAFETY: both requests write one int.
        succeeded(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut count) })?;
        if count == expected || (turns >= TURNS && Instant::now() >= deadline) {
            return Ok(count);
        }
        turns += 1;
        std::thread::yield_now();
    }
}

/// Sets an option that is an int.
pub fn set(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_bytes(fd, level, option, &value.to_ne_bytes())
}

/// Sets an option, given as it lies in memory.
pub fn set_bytes(fd: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the value lives during the call and its size is given.
    succeeded(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            libc::socklen_t::try_from(value.len()).unwrap_or(0),
        )
    })
}

/// Sets an option of `SOL_SOCKET`.
pub fn set_socket(socket: &TcpStream, option: i32, value: i32) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, option, value)
}

/// Attaches a filter of these instructions: code and constant.
pub fn set_filter(socket: &TcpStream, instructions: &[(u16, u32)]) -> io::Result<()> {
    let mut code: Vec<_> = instructions
        .iter()
        .map(|&(code, k)| libc::sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(code.len()).unwrap_or(0),
        filter: code.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions live during the call.
    succeeded(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            libc::socklen_t::try_from(size_of_val(&program)).unwrap_or(0),
        )
    })
}

/// Fills `room` with an option; the part of it that the kernel has written.
pub fn get<'a>(
    socket: &TcpStream,
    level: i32,
    option: i32,
    room: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let mut length = libc::socklen_t::try_from(room.len()).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to the room.
    succeeded(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            room.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    let written = usize::try_from(length).unwrap_or(0).min(room.len());
    Ok(&room[..written])
}

/// `sk_rmem_alloc`, the first word of `SO_MEMINFO` (`SK_MEMINFO_RMEM_ALLOC`).
pub fn rmem_alloc(socket: &TcpStream) -> io::Result<u32> {
    let mut room = [0; MEMINFO_WORDS * size_of::<u32>()];
    let words = get(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut room)?;
    let first = words.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    Ok(u32::from_ne_bytes(*first))
}

/// Returns the cookie, which tells the socket from all others for ever.
pub fn cookie(socket: &TcpStream) -> io::Result<u64> {
    let mut room = [0; 8];
    get(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut room)?;
    Ok(u64::from_ne_bytes(room))
}

/// Bytes that TCP has received, as `TCP_INFO` tells.
pub fn bytes_received(socket: &TcpStream) -> io::Result<u64> {
    let mut room = [0; TCP_INFO_SIZE];
    let info = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut room)?;
    let field = info
        .get(BYTES_RECEIVED..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(u64::from_ne_bytes(*field))
}

/// One send, never with a signal.
pub fn send(socket: &TcpStream, bytes: &[u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the bytes live during the call and their number is given.
    counted(unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    })
}

/// One receive of up to `room` bytes.
pub fn recv(socket: &TcpStream, room: usize, flags: i32) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; room];
    // SAFETY: the buffer lives during the call and its size is given.
    let count = counted(unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
        )
    })?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Reads `count` bytes, fewer at the end of the stream or when they do not
/// come. Never asleep in the receive call, which on an enrolled socket may
/// come back with nothing.
pub fn read(socket: &TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        match recv(socket, count - all.len(), libc::MSG_DONTWAIT) {
            Ok(some) if some.is_empty() => break,
            Ok(some) => all.extend(some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait(socket, libc::POLLIN, PATIENCE)? == 0 {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Discards up to `count` bytes, with no buffer for them.
pub fn discard(socket: &TcpStream, count: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC, TCP writes nothing to the buffer.
    counted(unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), count, flags) })
}

/// One receive with room for control messages; whether there was one of this
/// level and type.
pub fn recv_with_control(
    socket: &TcpStream,
    room: usize,
    (level, kind): (i32, i32),
) -> io::Result<bool> {
    let mut buffer = vec![0_u8; room];
    // Aligned as `struct cmsghdr`.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message and all that it points to live during the call.
    counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel has set the length of the control messages.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: within the control messages, as the macros guarantee.
        let found = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if found == (level, kind) {
            return Ok(true);
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(false)
}

/// `connect(2)` with an address of this family and nothing else in it.
pub fn connect_nowhere(socket: &TcpStream) -> io::Result<()> {
    // SAFETY: integers, for which zero is a value; `AF_UNSPEC` is 0.
    let address: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address lives during the call and its size is given.
    succeeded(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const address,
            libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0),
        )
    })
}

/// Connects a socket that exists to a port of this host.
pub fn connect(socket: &TcpStream, port: u16) -> io::Result<()> {
    // SAFETY: integers, for which zero is a value.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0);
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
    // SAFETY: the address lives during the call and its size is given.
    succeeded(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0),
        )
    })
}
