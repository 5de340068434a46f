//! Calls that may sleep run in threads of their own, so that the scenario can
//! go on and see when they return.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering::SeqCst},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        pthread::{Pthread, pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    },
    unistd::{Pid, gettid},
};
use socketvirt::host::process;

use super::perform::{Done, Task, perform};

/// The time that anything may take that needs no waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Phases of a thread.
const STARTING: i32 = 0;
const CALLING: i32 = 1;
const RETURNED: i32 = 2;

/// A call in a thread of its own.
pub(super) struct Worker {
    /// The step that made it.
    pub(super) step: usize,
    pub(super) task: Task,
    phase: Arc<AtomicI32>,
    id: Pid,
    thread: Pthread,
    done: Receiver<Done>,
}

impl Worker {
    /// Starts the call.
    pub(super) fn start(step: usize, task: Task) -> Result<Self> {
        let phase = Arc::new(AtomicI32::new(STARTING));
        let (tell_who, who) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        let (its_phase, its_task) = (Arc::clone(&phase), task.clone());
        thread::spawn(move || {
            let _ = tell_who.send((gettid(), pthread_self()));
            its_phase.store(CALLING, SeqCst);
            let result = perform(&its_task);
            its_phase.store(RETURNED, SeqCst);
            let _ = tell.send(result);
        });
        let (id, thread) = who.recv().context("a thread ended at its start")?;
        Ok(Self {
            step,
            task,
            phase,
            id,
            thread,
            done,
        })
    }

    /// Its answer.
    pub(super) fn wait(&self) -> Option<Done> {
        self.done.recv_timeout(PATIENCE).ok()
    }

    /// True when it sleeps within its call. A thread that something has woken is
    /// not asleep any more, even if it has not run yet.
    pub(super) fn asleep(&self) -> bool {
        let asleep = self.phase.load(SeqCst) == CALLING
            && process::thread(self.id.as_raw()).is_ok_and(|found| found.state == 'S');
        asleep && self.phase.load(SeqCst) == CALLING
    }

    /// Waits until it sleeps or has returned.
    pub(super) fn rest(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.asleep() && self.phase.load(SeqCst) != RETURNED {
            if Instant::now() > deadline {
                bail!("step {} neither sleeps nor returns", self.step);
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Sends it a signal, and waits until the handler has run.
    pub(super) fn signal(&self, restart: bool) -> Result<()> {
        let flags = if restart {
            SaFlags::SA_RESTART
        } else {
            SaFlags::empty()
        };
        let action = SigAction::new(SigHandler::Handler(count), flags, SigSet::empty());
        // SAFETY: the handler only adds to an atomic number.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.context("sigaction")?;
        let before = HANDLED.load(SeqCst);
        pthread_kill(self.thread, Signal::SIGUSR1).context("pthread_kill")?;
        let deadline = Instant::now() + PATIENCE;
        while HANDLED.load(SeqCst) == before {
            if Instant::now() > deadline {
                bail!("the signal was not handled");
            }
            thread::yield_now();
        }
        Ok(())
    }
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    HANDLED.fetch_add(1, SeqCst);
}
