//! The watching thread, for whoever has started it.

use std::{
    io::{self, PipeWriter},
    os::fd::BorrowedFd,
    time::Duration,
};

use socketvirt_common::record::stats::Stats;

use super::{error::WatchError, steering::Steering, waiting::WaitError, watcher::Watcher};
use crate::thread::Thread;

/// A watcher at work.
pub struct Watching {
    stop: PipeWriter,
    steering: Steering,
    thread: Thread<Result<Watcher, WatchError>>,
}

impl Watching {
    /// Has a watcher work in a thread of its own, which may enter other namespaces; hot
    /// pairs are looked at every `interval`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(watcher: Watcher, interval: Duration) -> Result<Self, WatchError> {
        let (stopped, stop) = io::pipe().map_err(WaitError::from)?;
        let steering = Steering::new().map_err(WaitError::from)?;
        let steered = steering.clone();
        let work = move || watcher.work(interval, &stopped, &steered);
        Ok(Self {
            stop,
            steering,
            thread: Thread::start("watch", work).map_err(WatchError::Start)?,
        })
    }

    /// A descriptor that poll(2) reports once the work has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.thread.end()
    }

    /// The handle on the thread.
    #[must_use]
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Ends the work, and leaves everything as it is.
    ///
    /// # Errors
    /// When a tier failed earlier.
    pub fn leave(self) -> Result<Stats, WatchError> {
        drop(self.stop);
        self.thread.join()??.stats()
    }

    /// Ends the work, drains, and gives the counters of everything.
    ///
    /// # Errors
    /// When a tier failed, then or earlier.
    pub fn finish(self, patience: Duration) -> Result<Stats, WatchError> {
        drop(self.stop);
        let mut watcher = self.thread.join()??;
        // A fresh thread, since this one must not leave its namespace.
        let drain = Thread::start("drain", move || {
            watcher.drain(patience)?;
            watcher.stats()
        });
        drain.map_err(WatchError::Start)?.join()?
    }
}
