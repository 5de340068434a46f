//! A connection whose way is cut in mid-life, by a firewall.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, recv, setsockopt, sockopt::TcpUserTimeout},
};

use super::{exchange, watchdog};
use crate::net;

/// Nothing gets out of the namespace.
const RULES: &str = "add table inet severed; \
    add chain inet severed out { type filter hook output priority filter; policy drop; }";

const MESSAGE: [u8; 64] = [9; 64];

/// Milliseconds until TCP gives up what is not acknowledged (RFC 5482).
const TIMEOUT: u32 = 1000;

/// Segments that are under way.
fn unacknowledged(end: &OwnedFd) -> Result<u32> {
    Ok(net::tcp_info(end).context("TCP_INFO")?.tcpi_unacked)
}

/// Must run in a network namespace of its own.
pub(crate) fn run(deadline: u64) -> Result<()> {
    watchdog::start("severed", deadline);
    let ends = exchange::ends()?;
    for end in &ends {
        setsockopt(end, TcpUserTimeout, &TIMEOUT).context("TCP_USER_TIMEOUT")?;
    }
    let path = exchange::until_fast(&ends)?;
    // Bytes that wait for their acknowledgement would end the connection by themselves.
    while ends
        .iter()
        .try_fold(0, |all, end| unacknowledged(end).map(|one| all + one))?
        > 0
    {
        thread::sleep(exchange::PACE);
    }
    let status = Command::new("nft").arg(RULES).status().context("nft")?;
    ensure!(status.success(), "nft: {status}");
    // Should messages get through where no packet does, it never ends.
    let errno = loop {
        if let Some(errno) = broken(&ends)? {
            break errno;
        }
        thread::sleep(exchange::PACE);
    };
    ensure!(errno == Errno::ETIMEDOUT, "ended by {errno}");
    println!(r#"{{"path":"{path}"}}"#);
    Ok(())
}

/// Sends a message; what its sender is told instead of its arrival.
fn broken([client, server]: &[OwnedFd; 2]) -> Result<Option<Errno>> {
    exchange::send_all(client, &MESSAGE, MsgFlags::empty())?;
    let mut polled = [
        PollFd::new(server.as_fd(), PollFlags::POLLIN),
        PollFd::new(client.as_fd(), PollFlags::empty()),
    ];
    poll(&mut polled, PollTimeout::NONE).context("poll")?;
    let arrived = polled[0].any() == Some(true);
    if arrived {
        exchange::receive(server, MESSAGE.len())?;
        return Ok(None);
    }
    let told = recv(client.as_raw_fd(), &mut [0], MsgFlags::empty());
    Ok(Some(told.err().context("an end instead of an error")?))
}
