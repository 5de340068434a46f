//! The policy in force, as `socketvirt policy show` prints it: each rule, and what
//! it has done.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;
use socketvirt_common::record::policy::RuleStats;

use super::{
    file::{Action, Policy, Rule},
    report::PolicyError,
    store::{Store, StoreError},
};

/// The policy in force could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The maps.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its text.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// The policy in force.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Version of these structures.
    pub schema: u32,
    /// The number that counts policies, 0 without one.
    pub generation: u32,
    /// The rules in order; the last one is the default. None without a policy.
    pub rules: Vec<Line>,
}

/// A rule.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What it says.
    pub action: Action,
    /// Its limit.
    pub max_pairs: Option<i64>,
    /// What it vouches for.
    pub assume: Vec<&'static str>,
    /// Its counters.
    #[serde(flatten)]
    pub done: RuleStats,
}

/// Returns the policy in force, if there is one.
///
/// # Errors
/// When it cannot be read.
pub fn in_force(store: &Store) -> Result<Option<Policy>, StatusError> {
    let Some(text) = store.text()? else {
        return Ok(None);
    };
    Ok(Some(Policy::parse(Path::new("(in force)"), &text)?))
}

impl Status {
    /// Reads it.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn read(store: &Store) -> Result<Self, StatusError> {
        let mut status = Self {
            schema: 1,
            generation: store.active().generation(),
            rules: Vec::new(),
        };
        let Some(policy) = in_force(store)? else {
            return Ok(status);
        };
        let numbers = (0..policy.rules.len()).map(Some).chain([None]);
        for number in numbers {
            let done = store.stats(number)?;
            let rule = number.and_then(|number| policy.rules.get(number));
            status.rules.push(Line {
                name: rule
                    .map_or("default", |rule| rule.name.get_ref())
                    .to_owned(),
                action: rule.map_or(policy.default, |rule| *rule.action.get_ref()),
                max_pairs: rule.and_then(|rule| Some(*rule.max_pairs.as_ref()?.get_ref())),
                assume: rule.map(Rule::assumed).unwrap_or_default(),
                done,
            });
        }
        Ok(status)
    }

    /// For a terminal.
    #[must_use]
    pub fn render(&self) -> String {
        if self.generation == 0 {
            return "no policy is in force: the mode of the agent holds for all connections\n"
                .into();
        }
        let width = self
            .rules
            .iter()
            .map(|line| line.name.chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        let mut text = format!(
            "{:<width$}  {:<7}  {:>7}  {:>8}  {:>11}  {:>8}  {:>14}  {:>14}\n",
            "RULE", "ACTION", "PAIRS", "ENROLLED", "NOW", "OBSERVED", "FAST BYTES", "STACK BYTES"
        );
        for line in &self.rules {
            let now = match line.max_pairs {
                Some(most) => format!("{} of {most}", line.done.now),
                None => line.done.now.to_string(),
            };
            let _ = writeln!(
                text,
                "{:<width$}  {:<7}  {:>7}  {:>8}  {now:>11}  {:>8}  {:>14}  {:>14}",
                line.name,
                line.action.word(),
                line.done.pairs,
                line.done.enrolled,
                line.done.observed,
                line.done.fast_bytes,
                line.done.stack_bytes
            );
            if !line.assume.is_empty() {
                let _ = writeln!(text, "{:<width$}  assumes {}", "", line.assume.join(", "));
            }
        }
        text
    }
}
