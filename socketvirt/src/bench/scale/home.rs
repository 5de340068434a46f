//! The cgroup whose connections the agent adopts.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{SigHandler, Signal, signal},
    unistd::{ForkResult, fork, pipe},
};
use procfs::{Current as _, Meminfo};

use crate::{
    bench::error::Error,
    host::cgroup::{Cgroup, Inside},
};

/// A cgroup of this benchmark. A process beside it takes it away, however the benchmark ends.
pub struct Home {
    cgroup: Cgroup,
    /// Closed when this process ends.
    _alive: OwnedFd,
}

impl Home {
    /// Makes it.
    pub fn make() -> Result<Self, Error> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // The one before may not have gone yet.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let cgroup = Cgroup::create(&format!("bench-{}-{number}", process::id()))?;
        let (read, write) = pipe().map_err(Error::call("pipe"))?;
        // SAFETY: the child waits, makes system calls and ends; no other thread of this process holds a lock that
        // these would need.
        if let ForkResult::Child = unsafe { fork() }.map_err(Error::call("fork"))? {
            drop(write);
            after(cgroup.path(), &read);
        }
        Ok(Self {
            cgroup,
            _alive: write,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.cgroup.path()
    }

    /// Moves this process there, until the guard goes.
    pub fn enter(&self) -> Result<Inside, Error> {
        Ok(self.cgroup.enter()?)
    }
}

/// Waits for the end of the benchmark, then takes the cgroup away, once all processes have left it.
fn after(folder: &Path, alive: &OwnedFd) -> ! {
    for interrupt in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: to ignore a signal runs no code.
        let _ = unsafe { signal(interrupt, SigHandler::SigIgn) };
    }
    while nix::unistd::read(alive, &mut [0]).is_ok_and(|count| count > 0) {}
    for _ in 0..1000 {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => break,
        }
    }
    // SAFETY: ends this process without running what the other one will.
    unsafe { libc::_exit(0) }
}

/// Bytes of the kernel that grow with sockets and maps.
pub fn kernel_memory() -> i64 {
    let Ok(memory) = Meminfo::current() else {
        return 0;
    };
    let others = [memory.s_unreclaim, memory.per_cpu];
    let bytes = memory.vmalloc_used + others.iter().flatten().sum::<u64>();
    bytes.cast_signed()
}
