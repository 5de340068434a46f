//! The script about a packet that brings bytes again.
//!
//! TCP keeps such a packet whole when there is something new in it, and leaves
//! it to its readers to skip the rest. By itself a sender makes one after
//! losses; here the client's socket is taken away without a word and restored
//! with an earlier send sequence, by `TCP_REPAIR` (tcp(7)).

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, socket, sockopt,
};

use super::{Answer, error::CheckError, pair::Pair, sockets};

/// Bytes that come again, all in the packet with the new ones: more than the
/// data path can take away at once (4095).
const AGAIN: u32 = 4200;
const NEW: &[u8] = b"new";

/// Not in the libc crate: include/uapi/linux/tcp.h.
const TCP_REPAIR_WINDOW: i32 = 29;
const WINDOW_SIZE: usize = 20;
/// `TCP_REPAIR_OFF_NO_WP`: without a window probe.
const REPAIR_OFF: i32 = -1;
/// Values of `TCP_REPAIR_QUEUE`.
const RECV_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;
/// Kinds of TCP options, include/net/tcp.h, and the loopback's segment size.
const OPTION_MSS: u32 = 2;
const OPTION_WINDOW: u32 = 3;
const MSS: u32 = 65483;
/// `tcpi_snd_wscale`, `tcpi_rcv_wscale` of `struct tcp_info`: 4 bits each.
const SCALES: usize = 6;

/// Bytes that were read come again, with new bytes behind them.
pub fn is_read_once(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"fast")?;
    sockets::read(&pair.server, 4).map_err(CheckError::setup("read"))?;
    let state = State::of(&pair.client).map_err(CheckError::setup("ask with TCP_REPAIR"))?;
    let enrolled = pair.enrolment(&pair.server)?;
    // Under repair, close(2) sends nothing.
    pair.close_client()?;
    pair.client = state
        .restore()
        .map_err(CheckError::setup("restore a connection with TCP_REPAIR"))?;
    if pair.enrolment(&pair.server)? != enrolled {
        return Err(CheckError::NotEnrolled(
            "the receiver was released with its peer".into(),
        ));
    }
    let mut packet = vec![b'o'; usize::try_from(AGAIN).unwrap_or(0)];
    packet.extend(NEW);
    pair.send(&packet)?;
    pair.client
        .shutdown(Shutdown::Write)
        .map_err(CheckError::setup("shut down"))?;
    let read = sockets::read(&pair.server, packet.len()).map_err(CheckError::setup("read"))?;
    Ok(if read == NEW {
        sockets::text(NEW)
    } else {
        format!("{} bytes", read.len())
    })
}

/// One end of a connection, apart from its socket.
struct State {
    own: SockaddrIn,
    peer_port: u16,
    sent: u32,
    received: u32,
    window: [u8; WINDOW_SIZE],
    scales: u8,
}

impl State {
    /// That of a connection, which is under repair from now on.
    fn of(client: &TcpStream) -> io::Result<Self> {
        set(client, libc::TCP_REPAIR, 1)?;
        let std::net::SocketAddr::V4(own) = client.local_addr()? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut window = [0; WINDOW_SIZE];
        sockets::get(client, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW, &mut window)?;
        let mut info = [0; SCALES + 1];
        sockets::get(client, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
        Ok(Self {
            own: own.into(),
            peer_port: client.peer_addr()?.port(),
            sent: sequence(client, SEND_QUEUE)?,
            received: sequence(client, RECV_QUEUE)?,
            window,
            scales: info[SCALES],
        })
    }

    /// The same end by another socket, which has yet to send what was sent last.
    fn restore(&self) -> io::Result<TcpStream> {
        let new = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Tcp,
        )?;
        nix::sys::socket::setsockopt(&new, sockopt::ReuseAddr, &true)?;
        let new = TcpStream::from(new);
        new.set_nodelay(true)?;
        set(&new, libc::TCP_REPAIR, 1)?;
        bind(new.as_raw_fd(), &self.own)?;
        set_sequence(&new, RECV_QUEUE, self.received)?;
        set_sequence(&new, SEND_QUEUE, self.sent.wrapping_sub(AGAIN))?;
        sockets::connect(&new, self.peer_port)?;
        let scales = u32::from(self.scales & 15) | u32::from(self.scales >> 4) << 16;
        let options = [OPTION_WINDOW, scales, OPTION_MSS, MSS];
        let options = options.map(u32::to_ne_bytes).concat();
        let fd = new.as_fd();
        let tcp = libc::IPPROTO_TCP;
        sockets::set_bytes(fd, tcp, libc::TCP_REPAIR_OPTIONS, &options)?;
        sockets::set_bytes(fd, tcp, TCP_REPAIR_WINDOW, &self.window)?;
        // It knows no segments but the smallest until their size is reckoned
        // again (`tcp_sync_mss`), which a change of its IP options does: to none.
        sockets::set_bytes(fd, libc::IPPROTO_IP, libc::IP_OPTIONS, &[])?;
        set(&new, libc::TCP_REPAIR, REPAIR_OFF)?;
        Ok(new)
    }
}

fn set(socket: &TcpStream, name: i32, value: i32) -> io::Result<()> {
    sockets::set(socket.as_fd(), libc::IPPROTO_TCP, name, value)
}

fn sequence(socket: &TcpStream, queue: i32) -> io::Result<u32> {
    set(socket, libc::TCP_REPAIR_QUEUE, queue)?;
    let mut number = [0; size_of::<u32>()];
    sockets::get(socket, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ, &mut number)?;
    Ok(u32::from_ne_bytes(number))
}

fn set_sequence(socket: &TcpStream, queue: i32, number: u32) -> io::Result<()> {
    set(socket, libc::TCP_REPAIR_QUEUE, queue)?;
    set(socket, libc::TCP_QUEUE_SEQ, number.cast_signed())
}
