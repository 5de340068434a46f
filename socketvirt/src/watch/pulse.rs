//! The pulse of the watching thread: the kernel side redirects nothing, and enrols
//! nothing at a handshake, once it has not beaten for some seconds
//! ([`watched`](socketvirt_common::rule::watched)).

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::datapath::tiers::{TierError, Tiers};

/// From one beat to the next.
pub const EVERY: Duration = Duration::from_secs(1);

/// The time of the last beat.
#[derive(Debug, Default)]
pub struct Pulse(Cell<Option<Instant>>);

impl Pulse {
    /// Beats, when it is time to.
    ///
    /// # Errors
    /// When the watch program cannot be run.
    pub fn beat(&self, tiers: &Tiers) -> Result<(), TierError> {
        if self.due().is_zero() {
            tiers.beat()?;
            self.0.set(Some(Instant::now()));
        }
        Ok(())
    }

    /// The time until the next beat.
    #[must_use]
    pub fn due(&self) -> Duration {
        let last = self.0.get();
        last.map_or(Duration::ZERO, |last| EVERY.saturating_sub(last.elapsed()))
    }
}
