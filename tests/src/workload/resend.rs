//! A sender that sends again what has arrived, in one packet with what has not.
//!
//! It happens by itself after losses; here the client's socket is taken away
//! without a word and restored with an earlier send sequence, by `TCP_REPAIR`
//! (tcp(7); needs `CAP_NET_ADMIN`).

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::socket::{
        MsgFlags, Shutdown, SockaddrStorage, bind, connect, recv, send, setsockopt, shutdown,
        sockopt,
    },
};

use super::{args::Resend, content::mix, net, watchdog};

/// Between rounds of requests and answers.
const PACE: Duration = Duration::from_millis(4);
const MESSAGE: [u8; 64] = [7; 64];

/// What is sent again; never among the new bytes.
const OLD: u8 = 0xff;

/// Not in the libc crate: include/uapi/linux/tcp.h.
const TCP_REPAIR_WINDOW: i32 = 29;
/// `TCP_REPAIR_OFF_NO_WP`: without a window probe.
const REPAIR_OFF: i32 = -1;
const RECV_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;
/// Kinds of TCP options, include/net/tcp.h.
const OPTION_MSS: u32 = 2;
const OPTION_WINDOW: u32 = 3;

/// `struct tcp_repair_window`: the receiver's window is in it.
type Window = [u32; 5];

pub(crate) fn run(args: &Resend, deadline: u64) -> Result<()> {
    watchdog::start("resend", deadline);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("the listener's address")?;
    let client = TcpStream::connect(address).context("connect")?;
    let own = client.local_addr().context("the client's address")?;
    let (server, _) = listener.accept().context("accept")?;
    let ends = [client, server].map(OwnedFd::from);
    for end in &ends {
        setsockopt(end, sockopt::TcpNoDelay, &true).context("TCP_NODELAY")?;
        net::set_nonblocking(end)?;
    }
    let path = exchange(&ends, args.rounds)?;
    let [client, server] = ends;
    let client = restored(client, [own, address], args.overlap)?;
    let new: Vec<u8> = (0..args.new)
        .map(|index| mix(u64::from(index)).to_le_bytes()[0] % OLD)
        .collect();
    let mut packet = vec![OLD; usize::try_from(args.overlap).context("overlap")?];
    packet.extend(&new);
    if new.is_empty() {
        // Held back for the end, which is then all that is new.
        send_all(&client, &packet, MsgFlags::from_bits_retain(libc::MSG_MORE))?;
    } else {
        send_all(&client, &packet, MsgFlags::empty())?;
        let got = receive(&server, new.len())?;
        compare(&got, &new)?;
    }
    shutdown(client.as_raw_fd(), Shutdown::Write).context("shutdown")?;
    let rest = receive(&server, usize::MAX)?;
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    println!(r#"{{"path":"{path}"}}"#);
    Ok(())
}

/// Requests and answers until one is redirected, or there have been enough.
fn exchange(ends: &[OwnedFd; 2], rounds: u32) -> Result<&'static str> {
    let [client, _] = ends;
    for _ in 0..rounds {
        let before = stack_bytes(client)?;
        for [from, to] in [[0, 1], [1, 0]] {
            send_all(&ends[from], &MESSAGE, MsgFlags::empty())?;
            compare(&receive(&ends[to], MESSAGE.len())?, &MESSAGE)?;
        }
        if stack_bytes(client)? == before {
            return Ok("fast");
        }
        thread::sleep(PACE);
    }
    Ok("stack")
}

/// Payload bytes that the stack has carried.
fn stack_bytes(fd: &OwnedFd) -> Result<u64> {
    Ok(net::tcp_info(fd).context("TCP_INFO")?.tcpi_bytes_sent)
}

/// The same end of the connection, by another socket, which has yet to send
/// what was sent last.
fn restored(old: OwnedFd, [own, peer]: [SocketAddr; 2], overlap: u32) -> Result<OwnedFd> {
    set(&old, libc::TCP_REPAIR, 1)?;
    let sent = sequence(&old, SEND_QUEUE)?;
    let received = sequence(&old, RECV_QUEUE)?;
    let mut window = Window::default();
    net::get_words(&old, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW, &mut window)
        .context("TCP_REPAIR_WINDOW")?;
    // 4 bits for each way, the sender's first.
    let scales = net::tcp_info(&old).context("TCP_INFO")?.tcpi_snd_rcv_wscale;
    let scales = u32::from(scales & 15) | u32::from(scales >> 4) << 16;
    // Under repair, close(2) sends nothing.
    drop(old);

    let new = net::new_socket(own)?;
    setsockopt(&new, sockopt::ReuseAddr, &true).context("SO_REUSEADDR")?;
    setsockopt(&new, sockopt::TcpNoDelay, &true).context("TCP_NODELAY")?;
    set(&new, libc::TCP_REPAIR, 1)?;
    bind(new.as_raw_fd(), &SockaddrStorage::from(own)).context("bind")?;
    set_sequence(&new, RECV_QUEUE, received)?;
    set_sequence(&new, SEND_QUEUE, sent.wrapping_sub(overlap))?;
    connect(new.as_raw_fd(), &SockaddrStorage::from(peer)).context("connect")?;
    let options = [OPTION_WINDOW, scales, OPTION_MSS, 65483];
    let level = libc::IPPROTO_TCP;
    net::set_words(&new, level, libc::TCP_REPAIR_OPTIONS, &options).context("the options")?;
    net::set_words(&new, level, TCP_REPAIR_WINDOW, &window).context("the window")?;
    // It knows no segments but the smallest until its size is reckoned again
    // (`tcp_sync_mss`), which a change of its IP options does: to none.
    net::set_words(&new, libc::IPPROTO_IP, libc::IP_OPTIONS, &[]).context("IP_OPTIONS")?;
    set(&new, libc::TCP_REPAIR, REPAIR_OFF)?;
    net::set_nonblocking(&new)?;
    Ok(new)
}

fn set(fd: &OwnedFd, name: i32, value: i32) -> Result<()> {
    net::set_int(fd, libc::IPPROTO_TCP, name, value).with_context(|| format!("option {name}"))
}

fn sequence(fd: &OwnedFd, queue: i32) -> Result<u32> {
    set(fd, libc::TCP_REPAIR_QUEUE, queue)?;
    let number = net::get_int(fd, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ);
    Ok(number.context("TCP_QUEUE_SEQ")?.cast_unsigned())
}

fn set_sequence(fd: &OwnedFd, queue: i32, number: u32) -> Result<()> {
    set(fd, libc::TCP_REPAIR_QUEUE, queue)?;
    set(fd, libc::TCP_QUEUE_SEQ, number.cast_signed())
}

fn send_all(fd: &OwnedFd, bytes: &[u8], flags: MsgFlags) -> Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(fd.as_raw_fd(), &bytes[sent..], flags) {
            Ok(count) => sent += count,
            Err(Errno::EAGAIN) => drop(net::wait(fd.as_fd(), libc::POLLOUT, u16::MAX)?),
            Err(error) => return Err(error).context("send"),
        }
    }
    Ok(())
}

/// This many bytes, or those until the end.
fn receive(fd: &OwnedFd, count: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while all.len() < count {
        let room = buffer.len().min(count - all.len());
        match recv(fd.as_raw_fd(), &mut buffer[..room], MsgFlags::empty()) {
            Ok(0) => break,
            Ok(got) => all.extend(&buffer[..got]),
            Err(Errno::EAGAIN) => drop(net::wait(fd.as_fd(), libc::POLLIN, u16::MAX)?),
            Err(error) => return Err(error).context("recv"),
        }
    }
    Ok(all)
}

fn compare(got: &[u8], wanted: &[u8]) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    let same = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    bail!(
        "{} bytes arrived of {}; byte {same} is wrong: {:?}",
        got.len(),
        wanted.len(),
        got.get(same)
    )
}
