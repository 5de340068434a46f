//! Scripts about what waits in a receive queue: that it is there, in order,
//! counted and bounded.

use std::io;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{
    Answer,
    error::CheckError,
    pair::Pair,
    sockets::{self, PATIENCE},
};

/// A message is redirected and arrives, and so does one after it.
pub fn arrives(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"fast ")?;
    let first = sockets::read(&pair.server, 5).map_err(CheckError::setup("read"))?;
    pair.fast(b"again")?;
    let second = sockets::read(&pair.server, 5).map_err(CheckError::setup("read"))?;
    Ok(sockets::text(&[first, second].concat()))
}

/// Bytes that wait show in poll(2), on whichever path they came.
pub fn wakes(pair: &mut Pair<'_>) -> Answer {
    let readable = |pair: &Pair<'_>| {
        sockets::wait(&pair.server, libc::POLLIN, PATIENCE)
            .map(|events| if events == 0 { "asleep" } else { "readable" })
            .map_err(CheckError::setup("poll"))
    };
    pair.fast(b"fast")?;
    let fast = readable(pair)?;
    sockets::read(&pair.server, 4).map_err(CheckError::setup("read"))?;
    pair.stack(b"stack")?;
    let stack = readable(pair)?;
    Ok(format!("{fast}, {stack}"))
}

fn waiting(pair: &Pair<'_>, expected: i32) -> Answer {
    sockets::readable_settled(&pair.server, expected)
        .map(|count| format!("{count} bytes"))
        .map_err(CheckError::setup("ask for FIONREAD"))
}

/// `FIONREAD` with redirected bytes.
pub fn counts_fast(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"fast")?;
    waiting(pair, 4)
}

/// `FIONREAD` with bytes of the stack.
pub fn counts_stack(pair: &mut Pair<'_>) -> Answer {
    pair.stack(b"stack")?;
    waiting(pair, 5)
}

/// `FIONREAD` with both.
pub fn counts_both(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"fast")?;
    pair.stack(b"stack")?;
    waiting(pair, 9)
}

/// The receiver is charged for what waits; back-pressure rests on it.
pub fn is_charged(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"fast")?;
    let charged =
        sockets::rmem_alloc(&pair.server).map_err(CheckError::setup("ask for SO_MEMINFO"))?;
    Ok(if charged >= 4 {
        "charged"
    } else {
        "not charged"
    }
    .into())
}

/// Bytes of the stack are unread when more is sent, which must not overtake
/// them.
pub fn keeps_order(pair: &mut Pair<'_>) -> Answer {
    pair.stack(b"stack")?;
    let overtaking = pair.either(b" first")?;
    let read = sockets::read(&pair.server, 11).map_err(CheckError::setup("read"))?;
    Ok(if overtaking {
        format!("{}, overtaken", sockets::text(&read))
    } else {
        sockets::text(&read)
    })
}

/// The order rule rests on `copied_seq`, so redirected bytes must not have
/// moved it: after a mixture, the direction becomes fast again.
pub fn becomes_fast_again(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"one ")?;
    pair.stack(b"two ")?;
    let mut read = sockets::read(&pair.server, 8).map_err(CheckError::setup("read"))?;
    pair.fast(b"again")?;
    read.extend(sockets::read(&pair.server, 5).map_err(CheckError::setup("read"))?);
    Ok(sockets::text(&read))
}

/// A program that reads once for each event of an edge-triggered epoll, and
/// takes a short read for an empty queue, as epoll(7) lets it.
pub fn edge_shows_both(pair: &mut Pair<'_>) -> Answer {
    let failed = |errno: nix::errno::Errno| CheckError::setup("use epoll")(errno.into());
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
    let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
    epoll.add(&pair.server, event).map_err(failed)?;
    pair.fast(b"both")?;
    pair.stack(b" queued")?;
    let mut read = Vec::new();
    let mut events = [EpollEvent::empty()];
    while epoll
        .wait(&mut events, EpollTimeout::ZERO)
        .map_err(failed)?
        > 0
    {
        match sockets::recv(&pair.server, 64, libc::MSG_DONTWAIT) {
            Ok(some) => read.extend(some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Ok(sockets::errno(&error)),
        }
    }
    Ok(sockets::text(&read))
}

/// A sender whose peer does not read is stopped, and nothing of what it could
/// send is lost or out of order.
pub fn pushes_back(pair: &mut Pair<'_>) -> Answer {
    /// One message; far above what any queue of the two sockets may hold.
    const MESSAGE: usize = 4 << 10;
    const TOO_MUCH: usize = 64 << 20;
    /// Not a divisor of a message, so that each place has bytes of its own.
    const PERIOD: usize = 251;
    let pattern = |from: usize, count: usize| -> Vec<u8> {
        (from..from + count)
            .map(|place| u8::try_from(place % PERIOD).unwrap_or(0))
            .collect()
    };
    // The sender's own buffer is not the question.
    sockets::set_socket(&pair.client, libc::SO_SNDBUF, 64 << 10)
        .map_err(CheckError::setup("set SO_SNDBUF"))?;
    let mut sent = 0;
    let stopped = loop {
        if sent >= TOO_MUCH {
            break format!("{} MiB and no end", sent >> 20);
        }
        match sockets::send(&pair.client, &pattern(sent, MESSAGE), libc::MSG_DONTWAIT) {
            Ok(count) => sent += count,
            Err(error) => break sockets::errno(&error),
        }
    };
    let mut read = 0;
    while read < sent {
        let some = sockets::read(&pair.server, MESSAGE.min(sent - read))
            .map_err(CheckError::setup("read"))?;
        if some.is_empty() {
            return Ok(format!("{stopped}, {} bytes lost", sent - read));
        }
        if some != pattern(read, some.len()) {
            return Ok(format!("{stopped}, wrong bytes after {read}"));
        }
        read += some.len();
    }
    Ok(format!("{stopped}, every byte in order"))
}

/// A pair is adopted in mid-life, redirects, and is released.
pub fn lives(pair: &mut Pair<'_>) -> Answer {
    pair.nonblocking()?;
    pair.adopt()?;
    // A receiver must have read by the stack since it was enrolled.
    pair.exchange_and_look()?;
    pair.fast(b"adopted")?;
    let read = sockets::read(&pair.server, 7).map_err(CheckError::setup("read"))?;
    let left = pair.drain()?;
    Ok(format!(
        "{}, {}",
        sockets::text(&read),
        if left { "released" } else { "not released" }
    ))
}
