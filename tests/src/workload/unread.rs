//! Requests that wait unread nearly all the time, so that whoever visits the
//! server's socket finds them.

use std::{
    hint,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    socket::{MsgFlags, recv},
};
use test_support::random::{Random, mix};

use super::{
    args::Unread,
    exchange::{self, compare, send_all},
    watchdog,
};
use crate::net;

/// The longest request.
const LONGEST: usize = 2000;

/// Looks at a request before it is read.
const LOOKS: u64 = 4;

/// Peeks at a request, or questions about it, before it is read.
const PEEKS: u32 = 20;

/// The longest pause between two peeks, in turns of an empty loop: some ten
/// microseconds.
const LONGEST_SPIN: u64 = 600;

/// Bytes that are sent one way, and how far each end is.
#[derive(Default)]
struct Stream {
    sent: usize,
    read: usize,
}

impl Stream {
    fn bytes(from: usize, to: usize) -> Vec<u8> {
        (from..to)
            .map(|at| mix(at as u64).to_le_bytes()[0])
            .collect()
    }

    fn send(&mut self, end: &OwnedFd, count: usize) -> Result<()> {
        send_all(
            end,
            &Self::bytes(self.sent, self.sent + count),
            MsgFlags::empty(),
        )?;
        self.sent += count;
        Ok(())
    }

    /// Unread bytes are told and shown as they are, before they are read.
    fn look(&self, end: &OwnedFd) -> Result<()> {
        let unread = Self::bytes(self.read, self.sent);
        let events = net::wait(end.as_fd(), libc::POLLIN, u16::MAX).context("poll")?;
        ensure!(events == libc::POLLIN, "poll tells {events:#x}");
        let told = net::readable_bytes(end.as_fd()).context("FIONREAD")?;
        ensure!(
            told == unread.len(),
            "FIONREAD tells {told} of {}",
            unread.len()
        );
        let mut shown = vec![0; unread.len()];
        let count = recv(end.as_raw_fd(), &mut shown, MsgFlags::MSG_PEEK).context("MSG_PEEK")?;
        compare(&shown[..count], &unread)
    }

    /// Unread bytes are shown by each call, whenever it begins.
    fn peek(&self, end: &OwnedFd, rng: &mut Random) -> Result<()> {
        let unread = Self::bytes(self.read, self.sent);
        let mut shown = vec![0; unread.len()];
        for _ in 0..PEEKS {
            spin(rng);
            let count = recv(end.as_raw_fd(), &mut shown, MsgFlags::MSG_PEEK).context("peeking")?;
            compare(&shown[..count], &unread)?;
        }
        Ok(())
    }

    /// Unread bytes are counted by each call, whenever it begins.
    fn ask(&self, end: &OwnedFd, rng: &mut Random) -> Result<()> {
        for _ in 0..PEEKS {
            spin(rng);
            let told = net::readable_bytes(end.as_fd()).context("FIONREAD")?;
            let unread = self.sent - self.read;
            ensure!(told == unread, "FIONREAD tells {told} of {unread}");
        }
        Ok(())
    }

    /// All but the last bytes, by one call: they are there.
    fn read(&mut self, end: &OwnedFd, leave: usize) -> Result<()> {
        let wanted = Self::bytes(self.read, self.sent - leave);
        let mut got = vec![0; wanted.len()];
        let count = recv(end.as_raw_fd(), &mut got, MsgFlags::empty()).context("recv")?;
        compare(&got[..count], &wanted)?;
        self.read += count;
        Ok(())
    }
}

/// Leaves a visit time to begin between two calls.
fn spin(rng: &mut Random) {
    for _ in 0..rng.below(LONGEST_SPIN) {
        hint::spin_loop();
    }
}

pub(crate) fn run(args: &Unread, deadline: u64) -> Result<()> {
    watchdog::start("unread", deadline);
    let mut rng = Random::new(args.seed);
    (0..args.connections).try_for_each(|_| connection(args, &mut rng))
}

fn connection(args: &Unread, rng: &mut Random) -> Result<()> {
    let [client, server] = exchange::ends()?;
    let edges = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
    let asked = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    edges
        .add(&server, EpollEvent::new(asked, 0))
        .context("epoll_ctl")?;
    let (mut requests, mut answers) = (Stream::default(), Stream::default());
    for _ in 0..args.rounds {
        let size = 1 + rng.size(LONGEST);
        requests.send(&client, size)?;
        let mut events = [EpollEvent::empty()];
        let told = edges.wait(&mut events, EpollTimeout::NONE);
        ensure!(told == Ok(1), "the edge: {told:?}");
        if args.peek {
            requests.peek(&server, rng)?;
        } else if args.ask {
            requests.ask(&server, rng)?;
        } else {
            for _ in 0..=rng.below(LOOKS) {
                requests.look(&server)?;
                thread::sleep(exchange::PACE / 4);
            }
        }
        requests.read(&server, if args.half { size.div_ceil(2) } else { 0 })?;
        answers.send(&server, 1 + rng.size(LONGEST))?;
        answers.look(&client)?;
        answers.read(&client, 0)?;
    }
    if args.half {
        requests.read(&server, 0)?;
    }
    Ok(())
}
