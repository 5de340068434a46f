//! What happens before accept, and connections that start anew.

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, SockaddrStorage, connect, send},
};

use super::{
    Case, Warm, case, errno_name, nothing,
    wire::{A, B, Wire},
};

pub(super) fn cases() -> Vec<Case> {
    let own = |name, run| Case {
        name,
        warm: Warm::No,
        setup: nothing,
        run,
    };
    vec![
        own("send before accept", send_before_accept),
        own("send and close before accept", close_before_accept),
        own("send and shut down before accept", shutdown_before_accept),
        own("server speaks first", server_first),
        own("first bytes both ways at once", both_first),
        case("reconnect with unread bytes", reconnect),
    ]
}

fn send_before_accept(w: &mut Wire) -> Result<()> {
    let (client, server) = (w.client(), 1 - w.client());
    w.connect()?;
    w.send(client, 100);
    w.send(client, 5000);
    w.accept()?;
    w.send(client, 10);
    w.recv_all(server);
    w.send(server, 10);
    w.recv_all(client);
    Ok(())
}

fn close_before_accept(w: &mut Wire) -> Result<()> {
    let (client, server) = (w.client(), 1 - w.client());
    w.connect()?;
    w.send(client, 100);
    w.close(client);
    w.accept()?;
    w.wait(server, libc::POLLIN | libc::POLLRDHUP);
    w.recv_all(server);
    w.recv(server, 10);
    Ok(())
}

fn shutdown_before_accept(w: &mut Wire) -> Result<()> {
    let (client, server) = (w.client(), 1 - w.client());
    w.connect()?;
    w.send(client, 100);
    w.shutdown(client, Shutdown::Write);
    w.accept()?;
    w.wait(server, libc::POLLIN | libc::POLLRDHUP);
    w.recv_all(server);
    w.recv(server, 10);
    w.send(server, 2000);
    w.recv_all(client);
    Ok(())
}

fn server_first(w: &mut Wire) -> Result<()> {
    let (client, server) = (w.client(), 1 - w.client());
    w.open()?;
    w.send(server, 100);
    w.recv_all(client);
    w.send(client, 100);
    w.recv_all(server);
    Ok(())
}

fn both_first(w: &mut Wire) -> Result<()> {
    w.open()?;
    w.send(A, 1000);
    w.send(B, 2000);
    w.recv_all(A);
    w.recv_all(B);
    Ok(())
}

/// `connect(AF_UNSPEC)` and a new connection on the same socket: not one byte
/// of the old connection may be read.
fn reconnect(w: &mut Wire) -> Result<()> {
    let (client, server) = (w.client(), 1 - w.client());
    w.send(server, 700);
    w.fionread(client, 700);
    w.recv(client, 100);
    let unspec = libc::sockaddr {
        sa_family: 0,
        sa_data: [0; 14],
    };
    // SAFETY: the pointer and the length describe the local address.
    let result = unsafe {
        libc::connect(
            w.raw(client),
            &raw const unspec,
            libc::socklen_t::try_from(size_of_val(&unspec))?,
        )
    };
    w.note(format!(
        "disconnect {}",
        errno_name(Errno::result(result).map(|_| 0))
    ));
    w.wait(server, libc::POLLHUP | libc::POLLERR);
    let late = send(w.raw(server), b"old", MsgFlags::MSG_NOSIGNAL);
    w.note(format!("the old server sends {}", errno_name(late)));
    w.close(server);
    w.renew();
    let again = connect(w.raw(client), &SockaddrStorage::from(w.addr()));
    if again != Err(Errno::EINPROGRESS) {
        again.context("connect again")?;
    }
    w.accept()?;
    w.wait(client, libc::POLLOUT);
    w.recv(client, 100);
    w.send(server, 500);
    w.recv_all(client);
    w.send(client, 400);
    w.recv_all(server);
    for _ in 0..20 {
        w.exchange(50, Warm::Recv)?;
    }
    w.recv(client, 100);
    Ok(())
}
