//! A server that has no memory to send with, and nothing under way whose
//! acknowledgement would tell it of some: it has to be woken all the same.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{args::Starved, watchdog};
use crate::cgroup::{self, Inside};

/// Connections whose unread bytes use the memory up.
const FILLERS: u32 = 16;
const MESSAGE: [u8; 100] = [7; 100];

pub(crate) fn run(args: &Starved, deadline: u64) -> Result<()> {
    watchdog::start("starved", deadline);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("the listener's address")?;
    let fillers = (0..FILLERS)
        .map(|_| pair(&listener, address, &args.server_in))
        .collect::<Result<Vec<_>>>()?;
    fill(&fillers, &args.server_in)?;
    let mut refused = 0;
    for _ in 0..args.connections {
        let (mut client, server) = pair(&listener, address, &args.server_in)?;
        refused += u32::from(send(&server)?);
        let mut got = [0; MESSAGE.len()];
        client.read_exact(&mut got).context("receive")?;
        ensure!(got == MESSAGE, "other bytes arrive than were sent");
    }
    println!(r#"{{"refused":{refused}}}"#);
    Ok(())
}

/// A client, and its server whose memory is charged to the cgroup.
fn pair(
    listener: &TcpListener,
    address: SocketAddr,
    folder: &Path,
) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(address).context("connect")?;
    let _inside = Inside::enter(folder);
    let (server, _) = listener.accept().context("accept")?;
    server.set_nonblocking(true).context("O_NONBLOCK")?;
    server.set_nodelay(true).context("TCP_NODELAY")?;
    Ok((client, server))
}

/// Sends what nobody reads until the memory of the cgroup is used up.
fn fill(pairs: &[(TcpStream, TcpStream)], folder: &Path) -> Result<()> {
    let bytes = |name: &str| -> Result<u64> {
        let text = fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
        text.trim().parse().with_context(|| name.to_owned())
    };
    let limit = bytes(cgroup::TCP_LIMIT)?;
    for (client, _) in pairs {
        client.set_nonblocking(true).context("O_NONBLOCK")?;
    }
    loop {
        let mut taken = false;
        for (client, _) in pairs {
            let mut client: &TcpStream = client;
            match client.write(&[0; 4096]) {
                Ok(_) => taken = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("fill"),
            }
        }
        // Bytes that no receiver has memory for wait at their sender, to take the
        // place of what goes.
        if !taken && bytes(cgroup::TCP_USAGE)? >= limit {
            return Ok(());
        }
    }
}

/// Sends as an edge-triggered program does: refused, it waits to be told.
/// Returns whether it was refused.
fn send(mut server: &TcpStream) -> Result<bool> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
    let asked = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll
        .add(server, EpollEvent::new(asked, 0))
        .context("epoll_ctl")?;
    let mut events = [EpollEvent::empty()];
    // A new connection has room to send.
    epoll
        .wait(&mut events, EpollTimeout::ZERO)
        .context("epoll_wait")?;
    let mut refused = false;
    loop {
        match server.write(&MESSAGE) {
            Ok(sent) => {
                ensure!(
                    sent == MESSAGE.len(),
                    "{sent} bytes of a small message sent"
                );
                return Ok(refused);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => refused = true,
            Err(error) => return Err(error).context("send"),
        }
        epoll
            .wait(&mut events, EpollTimeout::NONE)
            .context("epoll_wait")?;
    }
}
