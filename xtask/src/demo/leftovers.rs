//! Proof that the demo left nothing: neither the agents, nor what the demo itself made.

use std::collections::BTreeSet;

use anyhow::Result;
use test_support::leftovers::{Leftovers, Traces};

use super::stage;

/// The traces from before the demo.
pub struct Before {
    agents: Traces,
    own: BTreeSet<String>,
}

impl Before {
    pub fn take() -> Result<Self> {
        Ok(Self {
            agents: Traces::take()?,
            own: stage::traces()?,
        })
    }

    /// Returns what is there now and was not then.
    pub fn new_since(&self) -> Result<Leftovers> {
        let mut left = self.agents.new_since()?;
        let own = stage::traces()?;
        left.found.extend(own.difference(&self.own).cloned());
        Ok(left)
    }
}
