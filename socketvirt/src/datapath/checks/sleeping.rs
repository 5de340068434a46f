//! Scripts about a program that sleeps in a receive call.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        pthread::{pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    },
    unistd::gettid,
};

use super::{
    Answer,
    error::CheckError,
    pair::Pair,
    sockets::{self, PATIENCE},
};
use crate::host::process;

/// The longest that a reader is given to come back with nothing.
const A_WHILE: Duration = Duration::from_millis(100);

/// A thread that sleeps in a receive call on the server.
struct Sleeper {
    thread: libc::pthread_t,
    answer: Receiver<io::Result<Vec<u8>>>,
    returned: Option<io::Result<Vec<u8>>>,
}

impl Sleeper {
    /// Waits for the receive call to return.
    fn wait(&mut self, patience: Duration) {
        if self.returned.is_none() {
            self.returned = self.answer.recv_timeout(patience).ok();
        }
    }
}

/// Has a thread receive up to `room` bytes on the server, with `flags`; runs
/// `wake` once it sleeps. The answer is what the receive call returned.
fn asleep(
    pair: &mut Pair<'_>,
    room: usize,
    flags: i32,
    wake: impl FnOnce(&mut Pair<'_>, &mut Sleeper) -> Result<(), CheckError>,
) -> Answer {
    let reader = pair
        .server
        .try_clone()
        .map_err(CheckError::setup("duplicate a socket"))?;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let reader = &reader;
        scope.spawn(move || {
            let _ = tell.send((gettid(), pthread_self()));
            let _ = answer.send(sockets::recv(reader, room, flags));
        });
        let result = told
            .recv()
            .map_err(|_| CheckError::setup("start a thread")(io::ErrorKind::Other.into()))
            .and_then(|(id, thread)| {
                until_asleep(id.as_raw())?;
                let mut sleeper = Sleeper {
                    thread,
                    answer: answered,
                    returned: None,
                };
                wake(pair, &mut sleeper)?;
                sleeper.wait(PATIENCE);
                Ok(sleeper.returned)
            });
        // Whatever it waits for, this ends it.
        let _ = pair.server.shutdown(Shutdown::Both);
        Ok(match result? {
            Some(Ok(bytes)) => sockets::text(&bytes),
            Some(Err(error)) => sockets::errno(&error),
            None => "asleep for ever".into(),
        })
    })
}

/// Waits until a thread of this process sleeps; it has nothing to sleep in but
/// its receive call.
fn until_asleep(thread: libc::pid_t) -> Result<(), CheckError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = process::thread(thread).map_err(CheckError::setup("look at a thread"))?;
        if found.state == 'S' {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let never = io::ErrorKind::TimedOut.into();
            return Err(CheckError::setup("see a thread asleep")(never));
        }
        thread::yield_now();
    }
}

/// `MSG_WAITALL` goes on until all bytes are there.
pub fn wait_all(pair: &mut Pair<'_>) -> Answer {
    asleep(pair, 8, libc::MSG_WAITALL, |pair, _| {
        pair.send(b"wait")?;
        until_read(&pair.server)?;
        pair.send(b" all")
    })
}

/// Waits until a reader has taken what was sent to it.
fn until_read(server: &TcpStream) -> Result<(), CheckError> {
    let deadline = Instant::now() + PATIENCE;
    // By the charge and not by FIONREAD, which is not right everywhere.
    while sockets::rmem_alloc(server).map_err(CheckError::setup("ask for SO_MEMINFO"))? > 0
        && Instant::now() < deadline
    {
        thread::yield_now();
    }
    Ok(())
}

/// The signal was delivered to the reader.
static DELIVERED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    DELIVERED.store(true, Relaxed);
}

/// A signal whose handler was installed with `SA_RESTART`.
pub fn signal(pair: &mut Pair<'_>) -> Answer {
    // A receive call with a timeout is not restarted (sock_intr_errno).
    pair.server
        .set_read_timeout(None)
        .map_err(CheckError::setup("clear SO_RCVTIMEO"))?;
    let failed = |errno: nix::errno::Errno| CheckError::setup("handle a signal")(errno.into());
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler stores to an atomic and does nothing else.
    let before = unsafe { sigaction(Signal::SIGURG, &action) }.map_err(failed)?;
    let answer = asleep(pair, 16, 0, |pair, sleeper| {
        DELIVERED.store(false, Relaxed);
        pthread_kill(sleeper.thread, Signal::SIGURG).map_err(failed)?;
        // The handler runs after the call was interrupted: one that has ended
        // with that does not see the bytes any more.
        let deadline = Instant::now() + PATIENCE;
        while !DELIVERED.load(Relaxed) && Instant::now() < deadline {
            thread::yield_now();
        }
        pair.send(b"restarted")
    });
    // SAFETY: what was there before.
    unsafe { sigaction(Signal::SIGURG, &before) }.map_err(failed)?;
    answer
}

/// Another thread writes to the same socket until its buffer is full, which
/// then drains.
pub fn writer(pair: &mut Pair<'_>) -> Answer {
    asleep(pair, 16, 0, |pair, sleeper| {
        const PART: [u8; 16 << 10] = [0; 16 << 10];
        /// Where a kernel without back-pressure is left alone.
        const TOO_MUCH: usize = 64 << 20;
        let mut sent = 0;
        while sent < TOO_MUCH
            && let Ok(count) = sockets::send(&pair.server, &PART, libc::MSG_DONTWAIT)
        {
            sent += count;
        }
        let mut read = 0;
        while read < sent {
            let some = sockets::read(&pair.client, PART.len().min(sent - read))
                .map_err(CheckError::setup("read"))?;
            if some.is_empty() {
                break;
            }
            read += some.len();
        }
        // Bytes that come at once would hide that it woke with nothing.
        sleeper.wait(A_WHILE);
        pair.send(b"read on")
    })
}

/// The peer resets the connection.
pub fn reset(pair: &mut Pair<'_>) -> Answer {
    asleep(pair, 16, 0, |pair, _| {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&pair.client, nix::sys::socket::sockopt::Linger, &linger)
            .map_err(|errno| CheckError::setup("set SO_LINGER")(errno.into()))?;
        pair.close_client()
    })
}
