//! Ends with blocking calls: two threads a connection (one reads, one
//! writes), or one thread that does both in turn.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, Shutdown, recv, send, shutdown},
        uio::{readv, writev},
    },
};

use super::{
    endpoint::{read_some, write_some},
    flow::{Flow, PIECE, Plan},
    report::{Report, Side},
    watchdog::or_exit,
};
use crate::{net, place::Place};

const STACK: usize = 256 << 10;

/// Runs one side until all its connections have ended.
pub(crate) fn run(side: &Side, place: &Place, plan: &Arc<Plan>, single: bool) -> Result<Report> {
    let report = Mutex::new(Report::default());
    let each = |fd: OwnedFd, mut flow: Flow| -> Result<()> {
        flow.on(fd.as_raw_fd());
        // Said before the socket is closed: the other side would fail for that, and
        // be the first to say so.
        let flow = or_exit(if single {
            in_turn(&fd, flow)
        } else {
            two_threads(&fd, flow)
        });
        lock(&report).count(&flow);
        Ok(())
    };
    match side {
        Side::Server { listener, total } => serve(listener, *total, place, plan, &each)?,
        Side::Client {
            server,
            connections,
            total,
        } => {
            let next = AtomicU32::new(0);
            let one = || -> Result<bool> {
                let ordinal = next.fetch_add(1, Relaxed);
                if ordinal >= *total {
                    return Ok(false);
                }
                let mut flow = Flow::new(plan, true, ordinal);
                let mut first = [0; 8];
                flow.peek_piece(0, &mut first);
                let (fd, sent) = net::connect_to(place, *server, ordinal, false, &first)?;
                if sent > 0 {
                    flow.took(sent);
                }
                each(fd, flow)?;
                Ok(true)
            };
            thread::scope(|scope| {
                let mut threads = Vec::new();
                for _ in 0..*connections {
                    let work = || {
                        while or_exit(one()) {}
                    };
                    threads.push(
                        thread::Builder::new()
                            .stack_size(STACK)
                            .spawn_scoped(scope, work)?,
                    );
                }
                join(threads)
            })?;
        }
    }
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn serve(
    listener: &OwnedFd,
    total: u32,
    place: &Place,
    plan: &Arc<Plan>,
    each: &(impl Fn(OwnedFd, Flow) -> Result<()> + Sync),
) -> Result<()> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for ordinal in 0..total {
            let fd = net::accept(listener.as_fd(), place, false).context("accept")?;
            let flow = Flow::new(plan, false, ordinal);
            let work = || or_exit(each(fd, flow));
            threads.push(
                thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work)?,
            );
        }
        join(threads)
    })
}

fn join(threads: Vec<thread::ScopedJoinHandle<'_, ()>>) -> Result<()> {
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a thread panicked"))?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends and receives in turn, as a simple client or server does.
fn in_turn(fd: &OwnedFd, mut flow: Flow) -> Result<Flow> {
    let mut buffer = vec![0; PIECE];
    while !flow.finished() {
        flow.sleep_out_pause();
        while flow.to_send() > 0 && flow.pause(Instant::now()).is_none() {
            let size = flow.next_piece(&mut buffer);
            match write_some(fd.as_fd(), &mut flow, &buffer[..size]) {
                Ok(n) => flow.took(n),
                Err(errno) => bail!("{}: send of {size}: {errno}", flow.name()),
            }
        }
        let waits = flow
            .current()
            .map_or(!flow.identified(), |s| flow.received < s.recv_to);
        if waits && flow.to_send() == 0 {
            let size = flow.read_size();
            match read_some(fd.as_fd(), &mut flow, &mut buffer[..size], false)? {
                Ok(0) => bail!("{}: end of file in mid-script", flow.name()),
                Ok(n) => flow.receive(&buffer[..n])?,
                Err(errno) => bail!("{}: receive: {errno}", flow.name()),
            }
        }
    }
    let (first, ending) = flow.ending();
    if first && !ending.half_close {
        return Ok(flow);
    }
    if first {
        shutdown(fd.as_raw_fd(), Shutdown::Write).with_context(|| flow.name())?;
    }
    match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(0) => flow.end_of_file(false)?,
        other => bail!("{}: receive at the end: {other:?}", flow.name()),
    }
    Ok(flow)
}

struct Shared {
    flow: Mutex<Flow>,
    moved: Condvar,
}

/// A reading thread beside the calling, writing one.
fn two_threads(fd: &OwnedFd, flow: Flow) -> Result<Flow> {
    let shared = Shared {
        flow: Mutex::new(flow),
        moved: Condvar::new(),
    };
    thread::scope(|scope| {
        let reader = || or_exit(reader(fd, &shared));
        let reader = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, reader)?;
        or_exit(writer(fd, &shared));
        join(vec![reader])
    })?;
    Ok(shared
        .flow
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

fn reader(fd: &OwnedFd, shared: &Shared) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let (size, kind, nap) = {
            let mut flow = lock(&shared.flow);
            let (first, ending) = flow.ending();
            if first && !ending.half_close && flow.all_received() {
                return Ok(());
            }
            (flow.read_size(), flow.rng.below(4), flow.dawdle())
        };
        if let Some(nap) = nap {
            thread::sleep(nap);
        }
        let buffer = &mut buffer[..size];
        let result = if kind == 0 {
            let (a, b) = buffer.split_at_mut(size / 2);
            readv(fd, &mut [IoSliceMut::new(a), IoSliceMut::new(b)])
        } else {
            recv(fd.as_raw_fd(), buffer, MsgFlags::empty())
        };
        let mut flow = lock(&shared.flow);
        match result {
            Ok(0) => return flow.end_of_file(true),
            Ok(n) => flow.receive(&buffer[..n])?,
            Err(Errno::EAGAIN) if flow.again() => {}
            Err(errno) => bail!("{}: receive: {errno}", flow.name()),
        }
        shared.moved.notify_one();
    }
}

fn writer(fd: &OwnedFd, shared: &Shared) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut flow = lock(&shared.flow);
    loop {
        flow.tick();
        if flow.finished() {
            break;
        }
        let pause = flow.pause(Instant::now());
        if pause.is_none() && flow.to_send() > 0 {
            let size = flow.next_piece(&mut buffer);
            let gather = flow.rng.once_in(4);
            drop(flow);
            let result = write_blocking(fd, &buffer[..size], gather);
            flow = lock(&shared.flow);
            match result {
                Ok(n) => flow.took(n),
                Err(errno) => bail!("{}: send of {size}: {errno}", flow.name()),
            }
        } else if let Some(left) = pause {
            flow = shared
                .moved
                .wait_timeout(flow, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        } else {
            flow = shared
                .moved
                .wait(flow)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
    let (first, ending) = flow.ending();
    if first && ending.half_close {
        shutdown(fd.as_raw_fd(), Shutdown::Write).with_context(|| flow.name())?;
    }
    Ok(())
}

fn write_blocking(fd: &OwnedFd, bytes: &[u8], gather: bool) -> Result<usize, Errno> {
    if gather {
        let (a, b) = bytes.split_at(bytes.len() / 3);
        writev(fd, &[IoSlice::new(a), IoSlice::new(b)])
    } else {
        send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)
    }
}
