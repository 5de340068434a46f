//! What `socketvirt exec --summary` writes; other tools script the same interface.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// One run's summary, or the sum of several.
#[derive(Clone, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct Summary {
    pub mode: String,
    pub receive_mode: String,
    pub pairs: u64,
    pub adopted: u64,
    pub released: u64,
    pub bytes: ByPath,
    pub messages: ByPath,
    pub switches: Switches,
    pub left_on_stack: BTreeMap<String, u64>,
    pub errors: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct ByPath {
    pub fast: u64,
    pub stack: u64,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct Switches {
    pub to_fast: u64,
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
        for (reason, count) in other.left_on_stack {
            *self.left_on_stack.entry(reason).or_default() += count;
        }
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
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
