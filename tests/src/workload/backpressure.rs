//! A reader that stands still: how much can the sender get rid of, what does
//! the kernel spend on it, and is all of it exact once the reader goes on?

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, send, shutdown},
    unistd::gettid,
};
use socketvirt::host::process;
use test_support::random::Random;

use super::{
    args::Backpressure,
    memory::Memory,
    sides,
    watchdog::{self, or_exit},
};
use crate::{
    cgroup,
    content::Content,
    gate::{Condition, Watched},
    net,
};

/// Sent by each sender after the reader has gone on.
const AFTER: u64 = 30_000;
/// A sender that sleeps and makes no progress for this long has been stopped:
/// longer than any timer of TCP that would let it go on. One that waits for a
/// CPU does not sleep.
const STILL: Duration = Duration::from_millis(700);

/// One direction of one connection.
struct Lane {
    sender: OwnedFd,
    reader: OwnedFd,
    content: Content,
    answers: Content,
    sent: AtomicU64,
    messages: AtomicU64,
    refused: AtomicU64,
    /// The sender's thread.
    thread: AtomicI32,
    /// Where the sender ends, once it knows.
    target: AtomicU64,
    read: u64,
    answered: u64,
    progress: Arc<watchdog::Progress>,
}

pub(crate) fn run(args: &Backpressure, deadline: u64) -> Result<()> {
    watchdog::start("backpressure", deadline);
    let mut lanes = open(args)?;
    rounds(args, &mut lanes)?;
    let before = Memory::now()?;
    let going_on = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for lane in &lanes {
            let going_on = &going_on;
            threads.push(scope.spawn(move || or_exit(send_on(args, lane, going_on))));
        }
        let stopped = await_standstill(&lanes, args.limit);
        report(&lanes, stopped, before, Memory::now()?);
        going_on.store(true, Relaxed);
        for lane in &lanes {
            threads.push(scope.spawn(move || or_exit(read_all(args, lane))));
        }
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?;
        }
        Ok(())
    })?;
    lanes.iter().try_for_each(|lane| end(args, lane))
}

fn open(args: &Backpressure) -> Result<Vec<Lane>> {
    let (listener, addr) = sides::listener(&args.place)?;
    let mut lanes = Vec::new();
    for index in 0..args.connections {
        // Every other connection is sent on by its accepting side.
        let from_client = index.is_multiple_of(2);
        // A socket is charged to the cgroup of who makes it, or accepts it.
        let connect = || net::connect_to(&args.place, addr, index, !args.blocking, &[]);
        let accept =
            || net::accept(listener.as_fd(), &args.place, !args.blocking).context("accept");
        let (client, _) = charged(args, !from_client, connect)?;
        let server = charged(args, from_client, accept)?;
        let (sender, reader) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        lanes.push(Lane {
            sender,
            reader,
            content: Content::new(args.seed, index, from_client, false),
            answers: Content::new(args.seed, index, !from_client, false),
            sent: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            thread: AtomicI32::new(0),
            target: AtomicU64::new(u64::MAX),
            read: 0,
            answered: 0,
            progress: watchdog::watch(format!("lane {index}")),
        });
    }
    Ok(lanes)
}

/// Makes a socket, as a thread of the readers' cgroup if it `reads`.
fn charged<T>(args: &Backpressure, reads: bool, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let folder = args.readers_in.as_ref().filter(|_| reads);
    let _inside = folder.map(|folder| cgroup::Inside::enter(folder));
    make()
}

/// Requests and answers in turn, so that the connection proves itself.
fn rounds(args: &Backpressure, lanes: &mut [Lane]) -> Result<()> {
    let gap = Duration::from_secs(1) / args.warm_rate.max(1);
    let mut rng = Random::new(args.seed);
    let start = Instant::now();
    let mut watched: Vec<_> = lanes
        .iter()
        .map(|lane| Watched::new(lane.reader.as_raw_fd()))
        .collect();
    let mut round = 0;
    loop {
        // All of them in the same round, and each is asked in each.
        let fast = watched
            .iter_mut()
            .map(|one| one.holds(Condition::Fast))
            .filter(|fast| !fast)
            .count()
            == 0;
        if round >= args.warm_rounds && (fast || !args.until_fast) {
            return Ok(());
        }
        for lane in &mut *lanes {
            lane.round(rng.size(512))?;
        }
        round += 1;
        if let Some(left) = (gap * round).checked_sub(start.elapsed()) {
            thread::sleep(left);
        }
    }
}

impl Lane {
    /// True when its sender's thread sleeps, which waits for nothing but room.
    fn is_asleep(&self) -> bool {
        let thread = self.thread.load(Relaxed);
        process::thread(thread).is_ok_and(|found| found.state == 'S')
    }

    /// A request and its answer.
    fn round(&mut self, size: usize) -> Result<()> {
        let sent = self.sent.load(Relaxed);
        transfer(&self.sender, &self.reader, &self.content, sent, size)?;
        self.sent.store(sent + size as u64, Relaxed);
        self.read += size as u64;
        transfer(
            &self.reader,
            &self.sender,
            &self.answers,
            self.answered,
            size,
        )?;
        self.answered += size as u64;
        Ok(())
    }
}

/// Sends a small message and receives it at the other end.
fn transfer(
    from: &OwnedFd,
    to: &OwnedFd,
    content: &Content,
    position: u64,
    size: usize,
) -> Result<()> {
    let mut bytes = vec![0; size];
    content.fill(position, &mut bytes);
    let sent = send(from.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).context("send")?;
    ensure!(
        sent == size,
        "send of {size} took {sent} with nothing queued"
    );
    let mut got = 0;
    while got < size {
        let ready = net::wait(to.as_fd(), libc::POLLIN, u16::MAX)?;
        ensure!(
            ready != 0,
            "{} of {size} bytes at {position} did not arrive",
            size - got
        );
        let n =
            recv(to.as_raw_fd(), &mut bytes[..size - got], MsgFlags::empty()).context("receive")?;
        ensure!(n > 0, "end of file in mid-message");
        content.check(position + got as u64, &bytes[..n])?;
        got += n;
    }
    Ok(())
}

fn send_on(args: &Backpressure, lane: &Lane, going_on: &AtomicBool) -> Result<()> {
    lane.thread.store(gettid().as_raw(), Relaxed);
    let mut buffer = vec![0; args.message];
    loop {
        let position = lane.sent.load(Relaxed);
        if lane.target.load(Relaxed) == u64::MAX && going_on.load(Relaxed) {
            lane.target.store(position + AFTER, Relaxed);
        }
        let target = lane.target.load(Relaxed);
        if position == target {
            return Ok(());
        }
        if target == u64::MAX && lane.messages.load(Relaxed) >= args.limit {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        let size = usize::try_from(target - position).map_or(args.message, |n| n.min(args.message));
        lane.content.fill(position, &mut buffer[..size]);
        match send(
            lane.sender.as_raw_fd(),
            &buffer[..size],
            MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(n) => {
                lane.sent.store(position + n as u64, Relaxed);
                lane.progress.sent.store(position + n as u64, Relaxed);
                lane.messages.fetch_add(1, Relaxed);
            }
            Err(Errno::EAGAIN) if !args.blocking => {
                lane.refused.fetch_add(1, Relaxed);
                // EAGAIN promises that POLLOUT comes once there is room.
                net::wait(lane.sender.as_fd(), libc::POLLOUT, 60_000)?;
            }
            Err(errno) => bail!("send at {position} to a reader that stands still: {errno}"),
        }
    }
}

/// True once every sender stands still; false if one sent all it may.
fn await_standstill(lanes: &[Lane], limit: u64) -> bool {
    let total = || lanes.iter().map(|l| l.messages.load(Relaxed)).sum::<u64>();
    let (mut last, mut since) = (total(), Instant::now());
    while since.elapsed() < STILL {
        thread::sleep(Duration::from_millis(20));
        let now = total();
        if now != last || !lanes.iter().all(Lane::is_asleep) {
            (last, since) = (now, Instant::now());
        }
    }
    lanes.iter().all(|l| l.messages.load(Relaxed) < limit)
}

fn report(lanes: &[Lane], stopped: bool, before: Memory, after: Memory) {
    let each = || lanes.iter().map(|l| l.sent.load(Relaxed) - l.read);
    let (sum, min, max) = (
        each().sum::<u64>(),
        each().min().unwrap_or(0),
        each().max().unwrap_or(0),
    );
    let messages: u64 = lanes.iter().map(|l| l.messages.load(Relaxed)).sum();
    let refused: u64 = lanes.iter().map(|l| l.refused.load(Relaxed)).sum();
    let memory = after.since(before);
    println!(
        r#"{{"stopped":{stopped},"sent":{sum},"min":{min},"max":{max},"messages":{messages},"refused":{refused},{memory}}}"#
    );
}

fn read_all(args: &Backpressure, lane: &Lane) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut position = lane.read;
    // The sender knows its end before it sends the last bytes.
    while position < lane.target.load(Relaxed) {
        let n = receive(args, lane, &mut buffer).with_context(|| format!("at {position}"))?;
        ensure!(n > 0, "end of file at {position}");
        lane.content.check(position, &buffer[..n])?;
        position += n as u64;
        lane.progress.received.store(position, Relaxed);
    }
    Ok(())
}

fn receive(args: &Backpressure, lane: &Lane, buffer: &mut [u8]) -> Result<usize> {
    // Where packets are dropped for memory, a blocking receive would meet
    // wake-ups without data, and be ended by them in eager mode.
    if !args.blocking || args.readers_in.is_some() {
        let ready = net::wait(lane.reader.as_fd(), libc::POLLIN, 60_000)?;
        ensure!(ready != 0, "nothing to read for a minute");
    }
    recv(lane.reader.as_raw_fd(), buffer, MsgFlags::empty()).context("receive")
}

/// The end of file comes right behind the last byte.
fn end(args: &Backpressure, lane: &Lane) -> Result<()> {
    shutdown(lane.sender.as_raw_fd(), Shutdown::Write).context("shutdown")?;
    let more = receive(args, lane, &mut [0; 64])?;
    ensure!(more == 0, "{more} bytes behind the last one");
    Ok(())
}
