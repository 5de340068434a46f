//! What requests read and change: the parts of a running agent.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use socketvirt_common::record::config::Mode;

use crate::{
    policy::{
        Policy,
        store::{Store, StoreError},
        vouches,
    },
    session::effective::Effective,
    watch::steering::Steering,
};

/// A running agent, as requests see it.
#[derive(Debug)]
pub struct State {
    /// The time at which it started.
    pub since: SystemTime,
    started: OnceLock<Arc<Started>>,
}

/// The parts that are there once the start is complete.
#[derive(Debug)]
pub struct Started {
    /// Where the maps of the table are pinned.
    pub table: Option<PathBuf>,
    /// The data path; none when the agent keeps the table alone.
    pub accelerating: Option<Accelerating>,
}

/// A data path, and who watches it.
#[derive(Debug)]
pub struct Accelerating {
    /// Where it is pinned.
    pub home: PathBuf,
    /// What is on.
    pub effective: Arc<Effective>,
    /// The watching thread.
    pub steering: Steering,
}

/// A policy that was put in force.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// Its number.
    pub generation: u32,
    /// Its rules.
    pub rules: usize,
    /// True when what it has as `eager` is adopted until the agent is started again.
    pub adopts_only: bool,
    /// Why what it vouches for is not relied on.
    pub vouch: Option<&'static str>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            since: SystemTime::now(),
            started: OnceLock::new(),
        }
    }
}

impl State {
    /// Says that the start is complete.
    pub fn begin(&self, started: Arc<Started>) {
        // It is complete once.
        let _ = self.started.set(started);
    }

    /// The parts; none while the agent starts.
    #[must_use]
    pub fn started(&self) -> Option<&Started> {
        self.started.get().map(Arc::as_ref)
    }

    /// The data path, if there is one.
    #[must_use]
    pub fn accelerating(&self) -> Option<&Accelerating> {
        self.started()?.accelerating.as_ref()
    }

    /// Returns why the agent does not do what it was started for; none when it
    /// does.
    #[must_use]
    pub fn shortcoming(&self) -> Option<String> {
        match self.started() {
            None => Some("the agent is starting".into()),
            Some(started) => started.shortcoming(),
        }
    }
}

impl Started {
    /// Returns why the data path does not work that was asked for; none when it does,
    /// or none was asked for.
    #[must_use]
    pub fn shortcoming(&self) -> Option<String> {
        let effective = &self.accelerating.as_ref()?.effective;
        let is_off = effective.mode == Mode::Off && effective.asked != Mode::Off;
        is_off.then(|| effective.to_string())
    }
}

impl Accelerating {
    /// Puts a policy in force.
    ///
    /// # Errors
    /// When there is no room, or the kernel refuses. The one before stays in force.
    pub fn apply(&self, policy: &Policy, text: &str) -> Result<Applied, StoreError> {
        let generation = Store::open(&self.home)?.apply(policy, text)?;
        Ok(Applied {
            generation,
            rules: policy.rules.len(),
            adopts_only: policy.is_eager() && self.effective.mode != Mode::Eager,
            vouch: vouches::shortcoming(policy.assumes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::effective::Degraded;

    fn started(effective: Effective) -> Started {
        Started {
            table: None,
            accelerating: Some(Accelerating {
                home: PathBuf::new(),
                effective: Arc::new(effective),
                steering: Steering::new().unwrap(),
            }),
        }
    }

    #[test]
    fn it_works_when_what_was_asked_for_is_on() {
        let state = State::default();
        assert_eq!(
            state.shortcoming().as_deref(),
            Some("the agent is starting")
        );
        state.begin(Arc::new(started(Effective::new(Mode::Adopt))));
        assert_eq!(state.shortcoming(), None);
        let mut off = Effective::new(Mode::Adopt);
        off.degrade(Degraded::Visits);
        let words = started(off).shortcoming().unwrap();
        assert!(words.starts_with("not accelerating"), "{words}");
        let table = Started {
            table: None,
            accelerating: None,
        };
        assert_eq!(table.shortcoming(), None);
    }
}
