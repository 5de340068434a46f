//! The reasons that kept sockets off the fast path, and how many each.

use std::{collections::BTreeMap, ops::AddAssign, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use socketvirt_common::reason::Reason;
use test_support::{agent, command, summary::add_counts};

/// Sockets by the reason why they had no fast path.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// In the middle of the turns.
    open: BTreeMap<String, u64>,
    /// Those that ended without a redirected byte.
    ended: BTreeMap<String, u64>,
}

/// One reason, as people and machines are shown it.
#[derive(Debug, Serialize)]
pub struct Why {
    pub reason: String,
    /// Sockets that had it in the middle of the turns.
    pub open: u64,
    /// Sockets that ended with it.
    pub ended: u64,
    /// What it means.
    pub about: &'static str,
    /// What an operator can do.
    pub change: &'static str,
}

impl Kept {
    /// Asks the agent of this host.
    pub fn now(binary: &Path) -> Result<Self> {
        let json = command::output(Command::new(binary).args(["status", "--json"]))?;
        Self::parse(&json).context("understanding `socketvirt status --json`")
    }

    fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Status {
            accelerating: Accelerating,
        }
        #[derive(Deserialize)]
        struct Accelerating {
            kept: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            reason: String,
            sockets: u64,
        }
        let status: Status = serde_json::from_str(json)?;
        let kept = status.accelerating.kept.into_iter();
        Ok(Self {
            open: kept.map(|one| (one.reason, one.sockets)).collect(),
            ended: BTreeMap::new(),
        })
    }

    /// Adds those that an agent tells at its end.
    pub fn add_ended(&mut self, said: &str) {
        add_counts(&mut self.ended, &agent::left_on_stack(said));
    }

    /// Number of sockets that ended without a redirected byte.
    pub fn ended(&self) -> u64 {
        self.ended.values().sum()
    }

    /// All reasons, the most frequent first.
    pub fn reasons(&self) -> Vec<Why> {
        let names: std::collections::BTreeSet<_> =
            self.open.keys().chain(self.ended.keys()).collect();
        let count = |all: &BTreeMap<String, u64>, name: &str| all.get(name).copied().unwrap_or(0);
        let mut all: Vec<_> = names
            .into_iter()
            .filter_map(|name| {
                let reason = Reason::named(name)?;
                Some(Why {
                    reason: name.clone(),
                    open: count(&self.open, name),
                    ended: count(&self.ended, name),
                    about: reason.about(),
                    change: reason.change(),
                })
            })
            .collect();
        all.sort_by_key(|why| std::cmp::Reverse(why.open + why.ended));
        all
    }
}

impl AddAssign for Kept {
    fn add_assign(&mut self, other: Self) {
        add_counts(&mut self.open, &other.open);
        add_counts(&mut self.ended, &other.ended);
    }
}
