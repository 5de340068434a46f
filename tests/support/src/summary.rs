//! The summary that `socketvirt exec --summary` writes, and the one that agents print at their end; other tools script
//! the same interfaces.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// One run's summary, or the sum of several.
#[derive(Clone, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct Summary {
    /// `adopt` or `eager`.
    pub mode: String,
    /// `unified`, `tx_only` or `table_only`.
    pub receive_mode: String,
    /// Connections with both ends on this host.
    pub pairs: u64,
    /// Pairs that were enrolled.
    pub adopted: u64,
    /// Pairs that left before they closed.
    pub released: u64,
    /// Payload.
    pub bytes: ByPath,
    /// Calls that sent.
    pub messages: ByPath,
    /// Changes of path.
    pub switches: Switches,
    /// Sockets by the reason why they had no fast path.
    pub left_on_stack: BTreeMap<String, u64>,
    /// Refusals and errors, by kind.
    pub errors: BTreeMap<String, u64>,
}

/// The part of a summary that an agent prints too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deeds {
    /// Connections with both ends on this host.
    pub pairs: u64,
    /// Pairs that were enrolled.
    pub adopted: u64,
    /// Pairs that left before they closed.
    pub released: u64,
    /// Payload.
    pub bytes: ByPath,
    /// Calls that sent.
    pub messages: ByPath,
}

/// A count of each path.
#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct ByPath {
    /// Past the stack.
    pub fast: u64,
    /// Through it.
    pub stack: u64,
}

/// Changes of path, by direction.
#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct Switches {
    /// To the fast path.
    pub to_fast: u64,
    /// Back to the stack.
    pub to_stack: u64,
}

impl ByPath {
    /// The part that went the fast way, from 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown with three digits"
    )]
    pub fn fast_share(self) -> f64 {
        let all = self.fast.saturating_add(self.stack);
        if all == 0 {
            0.0
        } else {
            self.fast as f64 / all as f64
        }
    }
}

impl AddAssign for ByPath {
    fn add_assign(&mut self, other: Self) {
        self.fast += other.fast;
        self.stack += other.stack;
    }
}

impl From<&Summary> for Deeds {
    fn from(summary: &Summary) -> Self {
        Self {
            pairs: summary.pairs,
            adopted: summary.adopted,
            released: summary.released,
            bytes: summary.bytes,
            messages: summary.messages,
        }
    }
}

impl AddAssign for Deeds {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.adopted += other.adopted;
        self.released += other.released;
        self.bytes += other.bytes;
        self.messages += other.messages;
    }
}

/// Adds counts by name.
pub fn add_counts(all: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *all.entry(name.clone()).or_default() += count;
    }
}

/// Names with their counts, as reports show them; `none` where nothing was counted.
pub fn counts<W: fmt::Display>(all: &BTreeMap<W, u64>) -> String {
    let words: Vec<_> = all
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    if words.is_empty() {
        String::from("none")
    } else {
        words.join(", ")
    }
}

/// The counts behind a word that begins a line of a printed summary.
pub(crate) fn counts_of(text: &str, begins: &str) -> BTreeMap<String, u64> {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix(begins))
        .into_iter()
        .flat_map(|list| list.split(", "))
        .filter_map(|one| {
            let (kind, count) = one.split_once(' ')?;
            Some((kind.to_owned(), count.parse().ok()?))
        })
        .collect()
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.mode = other.mode;
        self.receive_mode = other.receive_mode;
        self.pairs += other.pairs;
        self.adopted += other.adopted;
        self.released += other.released;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.switches.to_fast += other.switches.to_fast;
        self.switches.to_stack += other.switches.to_stack;
        add_counts(&mut self.left_on_stack, &other.left_on_stack);
        add_counts(&mut self.errors, &other.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"mode":"adopt","receive_mode":"unified","pairs":3,"adopted":2,"released":2,
        "bytes":{"fast":900,"stack":100},"messages":{"fast":90,"stack":10},
        "switches":{"to_fast":4,"to_stack":1},"left_on_stack":{"blocking":1},"errors":{},
        "a field of a later version":1}"#;

    #[test]
    fn the_interface_is_understood_and_added_up() -> anyhow::Result<()> {
        let one: Summary = serde_json::from_str(JSON)?;
        let mut sum = Summary::default();
        sum += one.clone();
        sum += one;
        assert_eq!(sum.receive_mode, "unified");
        assert_eq!(
            sum.bytes,
            ByPath {
                fast: 1800,
                stack: 200
            }
        );
        assert_eq!(sum.left_on_stack["blocking"], 2);
        assert!((sum.bytes.fast_share() - 0.9).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn no_bytes_are_no_share() {
        assert!(ByPath::default().fast_share().abs() < f64::EPSILON);
    }
}
