//! The rest of the host: namespaces, processes, idle connections. All of it goes with this process.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pause, pipe, write},
};

use super::Size;
use crate::bench::{
    error::Error,
    netns::{Namespace, apart},
};

/// Connections to one address at most; a client has 28,000 ports for each.
const EACH: usize = 20_000;

/// Descriptors of a process that are no connections: those of namespaces, mostly.
const OTHERS: usize = 512;

/// The host of one size.
pub struct Host {
    namespaces: Vec<Namespace>,
    /// Those that do nothing, and those that hold the idle connections.
    processes: Vec<Pid>,
}

impl Host {
    /// Makes everything.
    pub fn make(size: Size) -> Result<Self, Error> {
        let mut host = Self {
            namespaces: Vec::new(),
            processes: Vec::new(),
        };
        // One is there already.
        for _ in 1..size.namespaces {
            let namespace = Namespace::new()?;
            namespace.ip("link set lo up")?;
            host.namespaces.push(namespace);
        }
        for index in 0..size.processes {
            let namespace = host.namespaces.get(index).map(Namespace::file);
            host.processes.push(sleeper(namespace)?);
        }
        let allowed = descriptors()?;
        if allowed < 8 * size.pairs + OTHERS {
            return Err(Error::Descriptors(allowed));
        }
        // A process each: one may not have enough descriptors for all of them.
        let each = EACH.min(allowed.saturating_sub(OTHERS) / 2).max(1);
        let mut left = size.idle;
        for last in 2..=u8::MAX {
            let some = left.min(each);
            if some == 0 {
                break;
            }
            let address = Ipv4Addr::new(127, 0, 0, last);
            host.processes.push(holder(address, some)?);
            left -= some;
        }
        if left == 0 {
            Ok(host)
        } else {
            Err(Error::Descriptors(allowed))
        }
    }

    /// Does something in one of the namespaces, of which the first is the caller's.
    pub fn inside<T: Send>(
        &self,
        index: usize,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        match index % (self.namespaces.len() + 1) {
            0 => work(),
            other => self.namespaces[other - 1].inside(work),
        }
    }

    /// Does something in a namespace of its own, which goes afterwards.
    pub fn elsewhere<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        let alone = Namespace::new()?;
        alone.ip("link set lo up")?;
        let file = alone.file();
        apart(|| {
            setns(file, CloneFlags::CLONE_NEWNET).map_err(Error::call("setns"))?;
            work()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end(&self.processes);
    }
}

/// A process that does nothing, in a namespace.
fn sleeper(namespace: Option<&File>) -> Result<Pid, Error> {
    child(|| {
        if let Some(file) = namespace {
            let _ = setns(file, CloneFlags::CLONE_NEWNET);
        }
        // SAFETY: closes what belongs to the benchmark, which this process does not use.
        unsafe { libc::close_range(0, u32::MAX, 0) };
    })
}

/// A process that holds idle connections, both ends of each; they are there when this returns.
fn holder(address: Ipv4Addr, count: usize) -> Result<Pid, Error> {
    let (done, told) = pipe().map_err(Error::call("pipe"))?;
    let mut held = Vec::new();
    let holder = child(|| {
        match connections(address, count) {
            Ok(connections) => held = connections,
            // SAFETY: ends this process, whose parent then reads the end of the pipe.
            Err(_) => unsafe { libc::_exit(1) },
        }
        // The parent waits for one of both.
        let _ = write(&told, &[1]);
    })?;
    drop(told);
    if nix::unistd::read(&done, &mut [0]) == Ok(1) {
        return Ok(holder);
    }
    end(&[holder]);
    Err(Error::Ended("a holder of idle connections", String::new()))
}

fn connections(address: Ipv4Addr, count: usize) -> Result<Vec<TcpStream>, Error> {
    let listener = TcpListener::bind((address, 0)).map_err(Error::io("listen"))?;
    let to = listener.local_addr().map_err(Error::io("getsockname"))?;
    let mut ends = Vec::with_capacity(2 * count);
    for _ in 0..count {
        ends.push(TcpStream::connect(to).map_err(Error::io("connect"))?);
        ends.push(listener.accept().map_err(Error::io("accept"))?.0);
    }
    Ok(ends)
}

/// A child of this process that does something, then waits until it is killed, at the latest when this process ends.
fn child(work: impl FnOnce()) -> Result<Pid, Error> {
    // SAFETY: the child runs code of its own and never returns; of the locks of this process it takes those of
    // malloc alone, which fork(2) of the C library leaves free.
    match unsafe { fork() }.map_err(Error::call("fork"))? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let _ = set_pdeathsig(Signal::SIGKILL);
            work();
            loop {
                pause();
            }
        }
    }
}

fn end(processes: &[Pid]) {
    for process in processes {
        // One that has ended needs none.
        let _ = kill(*process, Signal::SIGKILL);
    }
    for process in processes {
        let _ = waitpid(*process, None);
    }
}

/// Lets this process have as many descriptors as it may; returns how many.
fn descriptors() -> Result<usize, Error> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Error::call("getrlimit"))?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(Error::call("setrlimit"))?;
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}
