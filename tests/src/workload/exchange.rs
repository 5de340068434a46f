//! Requests and answers between two ends in one process, in one thread.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send, setsockopt, sockopt},
};

use crate::{gate, net};

/// Between rounds of requests and answers.
pub(super) const PACE: Duration = Duration::from_millis(4);
const MESSAGE: [u8; 64] = [7; 64];

/// A connection: its client and its server, non-blocking.
pub(super) fn ends() -> Result<[OwnedFd; 2]> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("the listener's address")?;
    let client = TcpStream::connect(address).context("connect")?;
    let (server, _) = listener.accept().context("accept")?;
    let ends = [client, server].map(OwnedFd::from);
    for end in &ends {
        setsockopt(end, sockopt::TcpNoDelay, &true).context("TCP_NODELAY")?;
        net::set_nonblocking(end)?;
    }
    Ok(ends)
}

/// Requests and answers until one is redirected; where nothing is, some.
pub(super) fn until_fast(ends: &[OwnedFd; 2]) -> Result<&'static str> {
    const PLAIN: u32 = 10;
    let [client, _] = ends;
    if gate::plain() {
        (0..PLAIN).try_for_each(|_| round(ends))?;
        return Ok("stack");
    }
    loop {
        let before = stack_bytes(client)?;
        round(ends)?;
        if stack_bytes(client)? == before {
            return Ok("fast");
        }
        thread::sleep(PACE);
    }
}

/// A request and its answer.
fn round(ends: &[OwnedFd; 2]) -> Result<()> {
    for [from, to] in [[0, 1], [1, 0]] {
        send_all(&ends[from], &MESSAGE, MsgFlags::empty())?;
        compare(&receive(&ends[to], MESSAGE.len())?, &MESSAGE)?;
    }
    Ok(())
}

/// Payload bytes that the stack has carried.
fn stack_bytes(fd: &OwnedFd) -> Result<u64> {
    Ok(net::tcp_info(fd).context("TCP_INFO")?.tcpi_bytes_sent)
}

pub(super) fn send_all(fd: &OwnedFd, bytes: &[u8], flags: MsgFlags) -> Result<()> {
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
pub(super) fn receive(fd: &OwnedFd, count: usize) -> Result<Vec<u8>> {
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

pub(super) fn compare(got: &[u8], wanted: &[u8]) -> Result<()> {
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
