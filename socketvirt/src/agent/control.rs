//! The control socket at work, for as long as the agent lives.

use std::{
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::{
    server::{self, Permitted},
    socket::{self, Bound, SocketError},
    state::{Started, State},
};
use crate::thread::{Panicked, Thread};

/// The control socket does not work.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It could not be served.
    #[error("serving the control socket failed: {0}")]
    Serve(#[from] io::Error),
    /// Its thread has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The options of a control socket.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its path.
    pub path: PathBuf,
    /// The group whose members may ask, by name or number.
    pub group: Option<String>,
}

/// The socket and its thread. Dropped, it takes both away.
#[derive(Debug)]
pub struct Control {
    state: Arc<State>,
    // The socket goes first: nobody shall connect to a thread that has ended.
    bound: Bound,
    stop: oneshot::Sender<()>,
    thread: Thread<io::Result<()>>,
}

impl Control {
    /// Makes the socket and answers, that the agent is starting.
    ///
    /// # Errors
    /// When it cannot be made; nothing is left then.
    pub fn start(options: &Options) -> Result<Self, ControlError> {
        let group = options.group.as_deref().map(socket::group).transpose()?;
        let (listener, bound) = Bound::make(&options.path, group)?;
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let permitted = Permitted::new(group);
        let work = move || server::serve(listener, permitted, &shared, stopped);
        Ok(Self {
            state,
            bound,
            stop,
            thread: Thread::start("admin", work)?,
        })
    }

    /// Says that the start is complete.
    pub fn begin(&self, started: Arc<Started>) {
        self.state.begin(started);
    }

    /// The parts of the agent.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.bound.path()
    }

    /// A descriptor that poll(2) reports once the thread has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.thread.end()
    }

    /// Takes the socket away and ends the thread.
    ///
    /// # Errors
    /// When it had failed.
    pub fn finish(self) -> Result<(), ControlError> {
        drop(self.bound);
        drop(self.stop);
        Ok(self.thread.join()??)
    }
}
