//! A sender that sends again what has arrived, in one packet with what has not.
//!
//! It happens by itself after losses; here the client's socket is taken away
//! without a word and restored with an earlier send sequence, by `TCP_REPAIR`
//! (tcp(7); needs `CAP_NET_ADMIN`).

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    MsgFlags, Shutdown, SockaddrStorage, bind, connect, setsockopt, shutdown, sockopt,
};
use test_support::random::mix;

use super::{
    args::Resend,
    exchange::{self, compare, receive, send_all},
    watchdog,
};
use crate::net;

/// The byte that is sent again; never among the new ones.
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
    let ends = exchange::ends()?;
    let path = exchange::until_fast(&ends)?;
    let [client, server] = ends;
    let own = net::local_address(client.as_fd())?;
    let address = net::local_address(server.as_fd())?;
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
