//! The agent's threads. Others can wait for the end of one, and its panic is an
//! error like any other.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    io::{self, PipeReader},
    os::fd::{AsFd as _, BorrowedFd},
    panic::{self, AssertUnwindSafe},
    sync::Once,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// A thread has panicked.
#[derive(Debug, thiserror::Error)]
#[error(
    "the thread {thread:?} has panicked at {place}: {message}; this is a defect of socketvirt, please report it"
)]
pub struct Panicked {
    thread: &'static str,
    place: String,
    message: String,
}

/// CPU time of the calling thread.
#[must_use]
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A thread at work.
#[derive(Debug)]
pub struct Thread<T> {
    /// Its other end is open as long as the thread works.
    alive: PipeReader,
    handle: JoinHandle<Result<T, Panicked>>,
    name: &'static str,
}

impl<T: Send + 'static> Thread<T> {
    /// Has a new thread of this name do the work.
    ///
    /// # Errors
    /// When the kernel gives no thread, or no pipe.
    pub fn start(
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(note_panics);
        let (alive, held) = io::pipe()?;
        let handle = thread::Builder::new().name(name.into()).spawn(move || {
            // Closes when everything else of the thread is gone.
            let _held = held;
            OURS.set(true);
            panic::catch_unwind(AssertUnwindSafe(work))
                .map_err(|payload| Panicked::new(name, &*payload))
        })?;
        Ok(Self {
            alive,
            handle,
            name,
        })
    }

    /// A descriptor that poll(2) reports once the thread has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.alive.as_fd()
    }

    /// True once the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the thread and gives its result.
    ///
    /// # Errors
    /// When it has panicked.
    pub fn join(self) -> Result<T, Panicked> {
        let name = self.name;
        self.handle
            .join()
            .unwrap_or_else(|payload| Err(Panicked::new(name, &*payload)))
    }
}

thread_local! {
    /// True in threads whose panic is returned by [`Thread::join`].
    static OURS: Cell<bool> = const { Cell::new(false) };
    /// The source line of the thread's panic.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the place of a panic in a [`Thread`] for its error, instead of printing
/// several lines of it.
fn note_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if OURS.get() {
            PLACE.set(info.location().map(ToString::to_string));
        } else {
            print(info);
        }
    }));
}

impl Panicked {
    fn new(thread: &'static str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        Self {
            thread,
            place: PLACE.take().unwrap_or_else(|| "an unknown place".into()),
            message: message.replace('\n', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn has_end<T: Send + 'static>(thread: &Thread<T>, patience: PollTimeout) -> bool {
        let mut ready = [PollFd::new(thread.end(), PollFlags::POLLIN)];
        poll(&mut ready, patience).unwrap();
        ready[0].any() == Some(true)
    }

    #[test]
    fn its_end_can_be_waited_for() {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = Thread::start("test", move || stopped.recv().is_err()).unwrap();
        assert!(!has_end(&thread, PollTimeout::ZERO));
        drop(stop);
        assert!(has_end(&thread, PollTimeout::NONE));
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_panic_ends_it_and_is_an_error_of_one_line() {
        let thread = Thread::<()>::start("test", || panic!("on\npurpose")).unwrap();
        assert!(has_end(&thread, PollTimeout::NONE));
        let error = thread.join().unwrap_err().to_string();
        assert!(error.contains("\"test\" has panicked"), "{error}");
        assert!(error.contains("thread.rs:"), "{error}");
        assert!(error.contains("on purpose"), "{error}");
    }
}
