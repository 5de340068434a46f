//! What else the host has: namespaces, processes, idle connections. All of it goes with this process.

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
    unistd::{ForkResult, Pid, fork, pause},
};

use super::Size;
use crate::bench::{
    error::Error,
    netns::{Namespace, apart},
};

/// Connections to one address; a client has 28,000 ports for each.
const EACH: usize = 20_000;

/// The host of one size.
pub struct Host {
    namespaces: Vec<Namespace>,
    processes: Vec<Pid>,
    /// Ends of idle connections.
    idle: Vec<TcpStream>,
}

impl Host {
    /// Makes everything.
    pub fn make(size: Size) -> Result<Self, Error> {
        let mut host = Self {
            namespaces: Vec::new(),
            processes: Vec::new(),
            idle: Vec::new(),
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
        allow(2 * size.idle + 8 * size.pairs + 4096)?;
        let mut left = size.idle;
        for last in 2..=u8::MAX {
            let some = left.min(EACH);
            if some == 0 {
                break;
            }
            host.connect(Ipv4Addr::new(127, 0, 0, last), some)?;
            left -= some;
        }
        Ok(host)
    }

    fn connect(&mut self, address: Ipv4Addr, count: usize) -> Result<(), Error> {
        let listener = TcpListener::bind((address, 0)).map_err(Error::io("listen"))?;
        let to = listener.local_addr().map_err(Error::io("getsockname"))?;
        for _ in 0..count {
            self.idle
                .push(TcpStream::connect(to).map_err(Error::io("connect"))?);
            let (server, _) = listener.accept().map_err(Error::io("accept"))?;
            self.idle.push(server);
        }
        Ok(())
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
        for process in &self.processes {
            // One that has ended needs none.
            let _ = kill(*process, Signal::SIGKILL);
        }
        for process in &self.processes {
            let _ = waitpid(*process, None);
        }
    }
}

/// A process that does nothing, in a namespace.
fn sleeper(namespace: Option<&File>) -> Result<Pid, Error> {
    // SAFETY: the child makes system calls alone and never returns; no other thread of this process holds a lock that
    // these would need.
    match unsafe { fork() }.map_err(Error::call("fork"))? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let _ = set_pdeathsig(Signal::SIGKILL);
            if let Some(file) = namespace {
                let _ = setns(file, CloneFlags::CLONE_NEWNET);
            }
            // SAFETY: closes what belongs to the benchmark, which this process does not use.
            unsafe { libc::close_range(0, u32::MAX, 0) };
            loop {
                pause();
            }
        }
    }
}

/// Lets this process have as many descriptors.
fn allow(descriptors: usize) -> Result<(), Error> {
    let wanted = descriptors as u64;
    let limits = getrlimit(Resource::RLIMIT_NOFILE).map_err(Error::call("getrlimit"))?;
    if limits.0 >= wanted {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, limits.1.max(wanted))
        .map_err(Error::call("setrlimit"))
}
