//! Telling a service manager how the agent is (`sd_notify(3)`).
//!
//! It is ready only when the data path works. The watchdog is fed only while the
//! watching thread, which also acts, answers: at each [`Manager::tick`] it is woken, and
//! by the next one it has to have answered.

use std::{env, time::Duration};

use sd_notify::NotifyState;

use super::state::Started;

/// From one status line to the next, without a watchdog.
const EVERY: Duration = Duration::from_secs(10);

/// Ticks in the time of the watchdog: a thread may miss some.
const TICKS: u32 = 4;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    is_there: bool,
    watchdog: Option<Duration>,
    /// Wakings that the watching thread had answered at the last tick; none before
    /// the first.
    beats: Option<u64>,
    status: String,
    is_ready: bool,
}

impl Manager {
    /// The one that has started this process, by its environment.
    #[must_use]
    pub fn of_environment() -> Self {
        Self {
            is_there: env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog: sd_notify::watchdog_enabled(),
            beats: None,
            status: String::new(),
            is_ready: false,
        }
    }

    /// The longest time until the next [`Self::tick`]; none without a manager.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        let watchdog = self.watchdog.map(|watchdog| watchdog / TICKS);
        self.is_there.then(|| watchdog.unwrap_or(EVERY).min(EVERY))
    }

    /// Says that the start is complete, when the data path works; says why not,
    /// otherwise.
    pub fn started(&mut self, started: &Started) {
        match started.shortcoming() {
            None => {
                self.is_ready = true;
                self.tell(&[NotifyState::Ready]);
            }
            Some(words) => self.tell(&[NotifyState::Status(&words)]),
        }
        self.tick(started);
    }

    /// Says how the agent is now, and that it lives when it does.
    pub fn tick(&mut self, started: &Started) {
        if self.patience().is_none() {
            return;
        }
        if self.watchdog.is_some() && self.makes_progress(started) {
            self.tell(&[NotifyState::Watchdog]);
        }
        let status = status(started);
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// True when the watching thread has answered the last waking. Wakes it again.
    fn makes_progress(&mut self, started: &Started) -> bool {
        let Some(on) = &started.accelerating else {
            return true;
        };
        let beats = on.steering.beats();
        let has_answered = self.beats.is_none_or(|before| beats > before);
        self.beats = Some(beats);
        on.steering.wake();
        has_answered
    }

    /// Says that the configuration is being read again.
    pub fn reloads(&self) {
        if let (true, Ok(now)) = (self.is_ready, NotifyState::monotonic_usec_now()) {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Says that it was read, or stays as it was.
    pub fn reloaded(&self) {
        if self.is_ready {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Says that the agent ends.
    pub fn stops(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.is_there {
            // Whoever does not listen is not to be told.
            let _ = sd_notify::notify(states);
        }
    }
}

/// The status in one line.
fn status(started: &Started) -> String {
    let Some(on) = &started.accelerating else {
        return "keeping the table".into();
    };
    if let Some(words) = started.shortcoming() {
        return words;
    }
    let seen = on.steering.seen();
    if on.steering.is_paused() {
        return format!("paused; {} pairs are still in use", seen.enrolled);
    }
    format!(
        "{}; {} of {} pairs on the fast path",
        on.effective, seen.enrolled, seen.pairs
    )
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use socketvirt_common::record::config::Mode;

    use super::*;
    use crate::{
        agent::state::Accelerating, session::effective::Effective, watch::steering::Steering,
    };

    #[test]
    fn a_thread_that_does_not_answer_feeds_no_watchdog() {
        let steering = Steering::new().unwrap();
        let started = Started {
            table: None,
            accelerating: Some(Accelerating {
                home: PathBuf::new(),
                effective: Arc::new(Effective::new(Mode::Adopt)),
                steering: steering.clone(),
            }),
        };
        let mut manager = Manager::of_environment();
        // Nobody has asked it before.
        assert!(manager.makes_progress(&started));
        assert!(!manager.makes_progress(&started));
        steering.answer();
        assert!(manager.makes_progress(&started));
        assert!(!manager.makes_progress(&started));
    }
}
