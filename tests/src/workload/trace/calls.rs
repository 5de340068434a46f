//! The ways to send and receive.

#![expect(
    clippy::unnecessary_wraps,
    reason = "cases are kept in one table, so they have one type"
)]

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut, Write as _},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        sendfile::sendfile,
        socket::{MsgFlags, SockaddrStorage, recvmsg, sendmsg},
    },
    unistd::pipe,
};

use super::{
    super::net,
    Case, Warm, case, errno_name, nothing,
    wire::{A, B, Wire},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("one byte at a time", single_bytes),
        case("empty send", empty_send),
        case("empty receive", empty_receive),
        case("peek", peek),
        case("discard by MSG_TRUNC", truncate),
        case("FIONREAD", fionread),
        case("unsent bytes", outq),
        case("thousand pieces in one send", many_pieces),
        case("scattered receive", scattered),
        case("MSG_MORE", more),
        case("sendfile", by_sendfile),
        case("splice into", splice_into),
        case("out of band", out_of_band),
        case("nothing there", nothing_there),
        case("64 KiB in one send", large),
    ];
    let with = |name, warm, run| Case {
        name,
        warm,
        setup: nothing,
        run,
    };
    cases.push(with("splice out of", Warm::Splice, splice_out));
    cases.push(with("wait for all", Warm::WaitAll, wait_all));
    cases
}

fn single_bytes(w: &mut Wire) -> Result<()> {
    for _ in 0..20 {
        w.send(A, 1);
    }
    w.fionread(B, 20);
    w.recv(B, 7);
    w.recv(B, 100);
    w.recv(B, 100);
    Ok(())
}

fn empty_send(w: &mut Wire) -> Result<()> {
    w.send(A, 0);
    w.recv(B, 100);
    w.send(A, 10);
    w.send(A, 0);
    w.recv_all(B);
    w.recv(B, 100);
    Ok(())
}

fn empty_receive(w: &mut Wire) -> Result<()> {
    w.send(A, 10);
    w.fionread(B, 10);
    w.recv(B, 0);
    w.recv_all(B);
    Ok(())
}

fn peek(w: &mut Wire) -> Result<()> {
    w.send(A, 60);
    w.send(A, 40);
    w.fionread(B, 100);
    w.recv_with(B, 10, MsgFlags::MSG_PEEK);
    w.recv_with(B, 1000, MsgFlags::MSG_PEEK);
    w.recv(B, 30);
    w.recv_with(B, 1000, MsgFlags::MSG_PEEK);
    w.fionread(B, 70);
    w.recv(B, 1000);
    w.recv_with(B, 1000, MsgFlags::MSG_PEEK);
    Ok(())
}

fn truncate(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.fionread(B, 100);
    let mut buffer = [0; 50];
    let result = nix::sys::socket::recv(
        w.raw(B),
        &mut buffer,
        MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
    );
    w.note(format!("B discards {}", errno_name(result)));
    w.skip(B, result.unwrap_or(0));
    w.recv(B, 100);
    Ok(())
}

fn fionread(w: &mut Wire) -> Result<()> {
    w.fionread(B, 0);
    w.send(A, 100);
    w.fionread(B, 100);
    w.send(A, 5000);
    w.fionread(B, 5100);
    w.recv(B, 99);
    w.fionread(B, 5001);
    w.recv(B, 5001);
    w.fionread(B, 0);
    Ok(())
}

fn outq(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.recv_all(B);
    // Acknowledged once received, at the latest after a delayed ACK.
    let mut left: i32 = -1;
    for _ in 0..100 {
        // SAFETY: TIOCOUTQ writes one int to the pointer, which is a local one.
        unsafe { libc::ioctl(w.raw(A), libc::TIOCOUTQ, &raw mut left) };
        if left == 0 {
            break;
        }
        net::wait(w.fd(A), 0, 5)?;
    }
    w.note(format!("A has {left} unsent"));
    Ok(())
}

fn many_pieces(w: &mut Wire) -> Result<()> {
    let bytes = w.next(A, 30_000);
    let pieces: Vec<_> = bytes.chunks(30).map(IoSlice::new).collect();
    let result = sendmsg::<SockaddrStorage>(w.raw(A), &pieces, &[], MsgFlags::MSG_NOSIGNAL, None);
    w.unsent(A, 30_000 - result.unwrap_or(0));
    w.note(format!("A sends {}", errno_name(result)));
    w.recv_all(B);
    Ok(())
}

fn scattered(w: &mut Wire) -> Result<()> {
    w.send(A, 1000);
    w.fionread(B, 1000);
    let mut buffer = vec![0; 2000];
    let result = {
        let mut pieces: Vec<_> = buffer.chunks_mut(7).map(IoSliceMut::new).collect();
        recvmsg::<SockaddrStorage>(w.raw(B), &mut pieces, None, MsgFlags::MSG_DONTWAIT)
            .map(|m| m.bytes)
    };
    let text = w.outcome(B, &buffer, result, true);
    w.note(format!("B receives {text}"));
    Ok(())
}

fn more(w: &mut Wire) -> Result<()> {
    w.send_with(A, 10, MsgFlags::from_bits_retain(libc::MSG_MORE));
    w.send_with(A, 10, MsgFlags::from_bits_retain(libc::MSG_MORE));
    w.send(A, 10);
    w.recv_all(B);
    w.recv(B, 10);
    Ok(())
}

fn by_sendfile(w: &mut Wire) -> Result<()> {
    let mut file = File::from(memfd_create("trace", MFdFlags::empty()).context("memfd_create")?);
    let bytes = w.next(A, 50_000);
    file.write_all(&bytes).context("fill the file")?;
    let mut offset = 0;
    while usize::try_from(offset)? < bytes.len() {
        let left = bytes.len() - usize::try_from(offset)?;
        if sendfile(w.owned(A), &file, Some(&mut offset), left).is_err() {
            net::wait(w.fd(A), libc::POLLOUT, 1000)?;
        }
    }
    w.recv_all(B);
    Ok(())
}

fn splice_into(w: &mut Wire) -> Result<()> {
    let (out, into) = pipe().context("pipe")?;
    for size in [1, 3000, 20_000] {
        let bytes = w.next(A, size);
        File::from(into.try_clone()?)
            .write_all(&bytes)
            .context("fill the pipe")?;
        let mut left = size;
        while left > 0 {
            left -= net::splice(&out, &w.fd(A), left, 0).context("splice")?;
        }
        w.recv_all(B);
    }
    Ok(())
}

fn out_of_band(w: &mut Wire) -> Result<()> {
    w.send(A, 10);
    let result = nix::sys::socket::send(w.raw(A), b"!", MsgFlags::MSG_OOB);
    w.note(format!("A sends out of band {}", errno_name(result)));
    w.send(A, 10);
    w.wait(B, libc::POLLPRI | libc::POLLIN);
    w.recv(B, 100);
    let mut byte = [0];
    let result = nix::sys::socket::recv(
        w.raw(B),
        &mut byte,
        MsgFlags::MSG_OOB | MsgFlags::MSG_DONTWAIT,
    );
    w.note(format!(
        "B receives out of band {} {:?}",
        errno_name(result),
        byte[0] as char
    ));
    w.recv(B, 100);
    w.recv(B, 100);
    Ok(())
}

fn nothing_there(w: &mut Wire) -> Result<()> {
    w.wait(B, libc::POLLOUT);
    w.recv(B, 100);
    w.recv_with(B, 100, MsgFlags::MSG_PEEK);
    w.fionread(B, 0);
    w.send(A, 3);
    w.recv_all(B);
    w.recv(B, 100);
    Ok(())
}

fn large(w: &mut Wire) -> Result<()> {
    for _ in 0..4 {
        w.send(A, 64 << 10);
        w.recv_all(B);
    }
    Ok(())
}

fn splice_out(w: &mut Wire) -> Result<()> {
    for size in [1, 100, 5000] {
        w.send(A, size);
        w.fionread(B, size);
        let mut buffer = vec![0; size];
        let result = w.by_splice(B, &mut buffer);
        let text = w.outcome(B, &buffer, result, true);
        w.note(format!("B splices {text}"));
    }
    Ok(())
}

fn wait_all(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.send(A, 200);
    w.fionread(B, 300);
    w.recv_with(B, 300, MsgFlags::MSG_WAITALL);
    w.send(A, 100);
    w.fionread(B, 100);
    w.recv_with(B, 300, MsgFlags::MSG_WAITALL);
    Ok(())
}
