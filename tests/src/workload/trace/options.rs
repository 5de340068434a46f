//! Socket options that make an enrolled socket differ from a plain one, set
//! before the warm-up so that a guard can see them.

#![expect(
    clippy::unnecessary_wraps,
    reason = "cases are kept in one table, so they have one type"
)]

use std::{
    io::IoSliceMut,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

use super::{
    Case, Warm, errno_name, set_int,
    wire::{A, B, Wire},
};

pub(super) fn cases() -> Vec<Case> {
    let with = |name, setup, run| Case {
        name,
        warm: Warm::Recv,
        setup,
        run,
    };
    vec![
        with(
            "SO_RCVLOWAT",
            |w| int(w.owned(B), libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100),
            low_water,
        ),
        with(
            "SO_ZEROCOPY",
            |w| int(w.owned(A), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1),
            zero_copy,
        ),
        with(
            "SO_PEEK_OFF",
            |w| int(w.owned(B), libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0),
            peek_offset,
        ),
        with(
            "SO_TIMESTAMP",
            |w| int(w.owned(B), libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1),
            control,
        ),
        with(
            "TCP_INQ",
            |w| int(w.owned(B), libc::IPPROTO_TCP, TCP_INQ, 1),
            control,
        ),
        with(
            "SO_OOBINLINE",
            |w| int(w.owned(B), libc::SOL_SOCKET, libc::SO_OOBINLINE, 1),
            urgent_inline,
        ),
        with("TCP_CORK", |_| Ok(()), cork),
    ]
}

const TCP_INQ: i32 = 36;

fn int(fd: &OwnedFd, level: i32, name: i32, value: i32) -> Result<()> {
    set_int(fd, level, name, value).with_context(|| format!("setsockopt {name}"))
}

fn low_water(w: &mut Wire) -> Result<()> {
    // Below the mark a socket is not readable.
    w.recv(B, 1000);
    w.send(A, 60);
    w.fionread(B, 60);
    let seen = super::net::wait(w.fd(B), libc::POLLIN, 50)?;
    w.note(format!("B readable: {}", seen != 0));
    w.send(A, 60);
    w.wait(B, libc::POLLIN);
    w.recv(B, 1000);
    Ok(())
}

fn zero_copy(w: &mut Wire) -> Result<()> {
    w.send_with(A, 20_000, MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY));
    w.recv_all(B);
    // The completion arrives in the error queue.
    w.wait(A, libc::POLLERR);
    let mut control = nix::cmsg_space!([u8; 128]);
    let completions = recvmsg::<SockaddrStorage>(
        w.raw(A),
        &mut [],
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE,
    )
    .map(|m| m.cmsgs().map_or(0, Iterator::count));
    w.note(format!("A completions {}", errno_name(completions)));
    Ok(())
}

fn peek_offset(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.fionread(B, 100);
    let mut buffer = [0; 40];
    for _ in 0..3 {
        let result = nix::sys::socket::recv(
            w.raw(B),
            &mut buffer,
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        w.note(format!("B peeks {}", errno_name(result)));
    }
    w.recv(B, 1000);
    Ok(())
}

fn control(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.fionread(B, 100);
    let mut buffer = [0; 200];
    let mut control = nix::cmsg_space!([u8; 128]);
    let result = recvmsg::<SockaddrStorage>(
        w.fd(B).as_raw_fd(),
        &mut [IoSliceMut::new(&mut buffer)],
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )
    .map(|m| (m.bytes, m.cmsgs().map_or(0, Iterator::count)));
    let count = result.map_or(0, |(_, c)| c);
    let text = w.outcome(B, &buffer, result.map(|(n, _)| n), true);
    w.note(format!("B receives {text} with {count} control messages"));
    Ok(())
}

fn urgent_inline(w: &mut Wire) -> Result<()> {
    w.send(A, 10);
    w.send_with(A, 1, MsgFlags::MSG_OOB);
    w.send(A, 10);
    w.wait(B, libc::POLLPRI | libc::POLLIN);
    w.recv(B, 100);
    w.recv(B, 100);
    w.recv(B, 100);
    Ok(())
}

fn cork(w: &mut Wire) -> Result<()> {
    setsockopt(&w.fd(A), sockopt::TcpNoDelay, &false).context("TCP_NODELAY")?;
    int(w.owned(A), libc::IPPROTO_TCP, libc::TCP_CORK, 1)?;
    w.send(A, 10);
    w.send(A, 10);
    int(w.owned(A), libc::IPPROTO_TCP, libc::TCP_CORK, 0)?;
    w.recv_all(B);
    w.recv(B, 10);
    Ok(())
}
