//! What a soak did, for people and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, ops::AddAssign, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::kernel::Kernel;
use crate::{
    demo::summary::{ByPath, Summary},
    progress,
};

/// What agents that ended in order say that they did; those that are killed tell nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deeds {
    pub pairs: u64,
    pub adopted: u64,
    pub released: u64,
    pub bytes: ByPath,
}

impl Deeds {
    /// From the summary that `run` prints at its end; none for one that kept the table alone.
    pub fn of_text(text: &str) -> Option<Self> {
        let numbers = |name: &str| -> Option<Vec<u64>> {
            let line = text
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(name))?;
            Some(
                line.split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect(),
            )
        };
        let (pairs, bytes) = (numbers("pairs ")?, numbers("bytes ")?);
        Some(Self {
            pairs: *pairs.first()?,
            adopted: *pairs.get(1)?,
            released: *pairs.get(2)?,
            bytes: ByPath {
                fast: *bytes.first()?,
                stack: *bytes.get(1)?,
            },
        })
    }

    pub fn of_summary(summary: &Summary) -> Self {
        Self {
            pairs: summary.pairs,
            adopted: summary.adopted,
            released: summary.released,
            bytes: summary.bytes,
        }
    }
}

impl AddAssign for Deeds {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.adopted += other.adopted;
        self.released += other.released;
        self.bytes += other.bytes;
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// What was done to agents, memory and CPUs, by kind.
    pub actions: BTreeMap<&'static str, u64>,
    /// Traffic that ended well, by kind.
    pub traffic: BTreeMap<&'static str, u64>,
    pub bytes_checked: u64,
    pub deeds: Deeds,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub seconds: u64,
    pub memory_pressed_by: &'static str,
    #[serde(flatten)]
    pub totals: Totals,
    /// Of kernel memory, in KB, after all has ended.
    pub growth_kb: Kernel,
    /// What went wrong first.
    pub failure: Option<String>,
    /// Where the logs are; kept after a failure alone.
    pub logs: Option<PathBuf>,
}

impl Report {
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("writing the report")
    }

    pub fn text(&self, style: progress::Style) -> String {
        let Totals {
            actions,
            traffic,
            bytes_checked,
            deeds,
        } = &self.totals;
        let mut text = String::new();
        let took = progress::elapsed(std::time::Duration::from_secs(self.seconds));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "soak: {took}, seed {}, memory pressed by {}",
            self.seed, self.memory_pressed_by
        );
        let _ = writeln!(text, "  actions  {}", counts(actions));
        let _ = writeln!(text, "  traffic  {}", counts(traffic));
        let _ = writeln!(text, "  checked  {bytes_checked} bytes, each of them right");
        let _ = writeln!(
            text,
            "  agents   {} adoptions, {} releases, {} pairs, {:.1}% of their bytes fast (those that were not killed)",
            deeds.adopted,
            deeds.released,
            deeds.pairs,
            100.0 * deeds.bytes.fast_share()
        );
        let _ = writeln!(text, "  kernel   {}", self.growth_kb);
        match &self.failure {
            None => text.push_str(&style.green("passed\n")),
            Some(failure) => {
                let _ = writeln!(text, "{} {failure}", style.red("FAILED:"));
            }
        }
        if let Some(logs) = &self.logs {
            let _ = writeln!(text, "logs: {}", logs.display());
        }
        text
    }
}

pub fn counts(all: &BTreeMap<&'static str, u64>) -> String {
    let words: Vec<_> = all
        .iter()
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_agent_are_understood() {
        let text = "socketvirt: accelerating\nsocketvirt: mode adopt, receive mode unified\n  pairs      4 seen, 2 accelerated, 1 released\n  \
                    bytes      128 fast, 61 stack (67.9% fast)\n  messages   5 fast, 2 stack (68.3% fast)\n";
        let deeds = Deeds::of_text(text).expect("a summary");
        assert_eq!((deeds.pairs, deeds.adopted, deeds.released), (4, 2, 1));
        assert_eq!((deeds.bytes.fast, deeds.bytes.stack), (128, 61));
        assert_eq!(Deeds::of_text("socketvirt: keeping the table\n"), None);
    }
}
