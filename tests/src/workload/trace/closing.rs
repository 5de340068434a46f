//! Ends of connections: orderly, half, with data under way, by reset.

#![expect(
    clippy::unnecessary_wraps,
    reason = "cases are kept in one table, so they have one type"
)]

use anyhow::Result;
use nix::sys::socket::{Shutdown, getsockopt, sockopt};

use super::{
    Case, case,
    wire::{A, B, Wire},
};

const ENDED: i16 = libc::POLLIN | libc::POLLRDHUP;
const BROKEN: i16 = libc::POLLHUP | libc::POLLERR;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("half-close", half_close),
        case("half-close with nothing sent", half_close_empty),
        case("both shut down", both_shut_down),
        case("shutdown both ways", shutdown_both),
        case("close with data under way", close_under_way),
        case("close, peer sends on", close_peer_sends),
        case("close with unread data", close_unread),
        case("close with half of it unread", close_half_unread),
        case("reset", reset),
        case("reset with unread data at the peer", reset_unread),
        case("reset, seen by SO_ERROR", reset_so_error),
        case("send after shutdown", send_after_shutdown),
        case("peer stops receiving", peer_shut_rd),
    ]
}

fn half_close(w: &mut Wire) -> Result<()> {
    w.send(A, 5000);
    w.shutdown(A, Shutdown::Write);
    w.wait(B, ENDED);
    w.recv_all(B);
    w.recv(B, 100);
    w.recv(B, 100);
    // The other direction goes on.
    for size in [1, 3000, 20_000] {
        w.send(B, size);
        w.recv_all(A);
    }
    w.recv(A, 100);
    w.close(B);
    w.wait(A, ENDED);
    w.recv(A, 100);
    Ok(())
}

fn half_close_empty(w: &mut Wire) -> Result<()> {
    w.shutdown(A, Shutdown::Write);
    w.wait(B, ENDED);
    w.recv(B, 100);
    w.send(B, 10);
    w.recv_all(A);
    w.shutdown(B, Shutdown::Write);
    w.wait(A, ENDED);
    w.recv(A, 100);
    Ok(())
}

fn both_shut_down(w: &mut Wire) -> Result<()> {
    w.send(A, 700);
    w.send(B, 900);
    w.shutdown(A, Shutdown::Write);
    w.shutdown(B, Shutdown::Write);
    w.wait(A, ENDED);
    w.wait(B, ENDED);
    w.recv_all(A);
    w.recv_all(B);
    w.recv(A, 10);
    w.recv(B, 10);
    Ok(())
}

fn shutdown_both(w: &mut Wire) -> Result<()> {
    w.send(A, 300);
    w.shutdown(A, Shutdown::Both);
    w.recv(A, 10);
    w.send(A, 10);
    w.wait(B, ENDED);
    w.recv_all(B);
    w.recv(B, 10);
    Ok(())
}

fn close_under_way(w: &mut Wire) -> Result<()> {
    for size in [1, 100, 30_000] {
        w.send(A, size);
    }
    w.close(A);
    w.wait(B, ENDED);
    w.recv_all(B);
    w.recv(B, 100);
    Ok(())
}

fn close_peer_sends(w: &mut Wire) -> Result<()> {
    w.close(A);
    w.wait(B, ENDED);
    // The first send is answered with a reset, the next one fails.
    w.send(B, 100);
    w.wait(B, BROKEN);
    w.send(B, 100);
    w.recv(B, 100);
    w.recv(B, 100);
    Ok(())
}

fn close_unread(w: &mut Wire) -> Result<()> {
    w.send(A, 1000);
    w.fionread(B, 1000);
    w.close(B);
    w.wait(A, BROKEN);
    w.recv(A, 100);
    w.recv(A, 100);
    w.send(A, 100);
    Ok(())
}

fn close_half_unread(w: &mut Wire) -> Result<()> {
    w.send(A, 500);
    w.send(A, 500);
    w.fionread(B, 1000);
    w.recv(B, 700);
    w.close(B);
    w.wait(A, BROKEN);
    w.recv(A, 100);
    Ok(())
}

fn reset(w: &mut Wire) -> Result<()> {
    w.reset(A)?;
    w.wait(B, BROKEN);
    w.recv(B, 100);
    w.recv(B, 100);
    w.send(B, 100);
    Ok(())
}

fn reset_unread(w: &mut Wire) -> Result<()> {
    w.send(A, 1000);
    w.fionread(B, 1000);
    w.reset(A)?;
    w.wait(B, BROKEN);
    w.recv(B, 600);
    w.recv(B, 600);
    w.recv(B, 600);
    w.recv(B, 600);
    Ok(())
}

fn reset_so_error(w: &mut Wire) -> Result<()> {
    w.reset(A)?;
    w.wait(B, BROKEN);
    for _ in 0..2 {
        let error = getsockopt(&w.fd(B), sockopt::SocketError)?;
        w.note(format!(
            "B SO_ERROR {:?}",
            nix::errno::Errno::from_raw(error)
        ));
    }
    w.recv(B, 100);
    w.send(B, 100);
    Ok(())
}

fn send_after_shutdown(w: &mut Wire) -> Result<()> {
    w.send(A, 10);
    w.shutdown(A, Shutdown::Write);
    w.send(A, 10);
    w.wait(B, ENDED);
    w.recv_all(B);
    w.recv(B, 10);
    // B may send until it shuts down as well.
    w.send(B, 10);
    w.shutdown(B, Shutdown::Write);
    w.send(B, 10);
    w.recv_all(A);
    Ok(())
}

fn peer_shut_rd(w: &mut Wire) -> Result<()> {
    w.shutdown(B, Shutdown::Read);
    w.recv(B, 10);
    w.send(A, 100);
    w.fionread(B, 100);
    w.recv(B, 1000);
    w.recv(B, 1000);
    Ok(())
}
