//! The summary that `socketvirt exec --summary` writes.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// A summary. Every accessor panics with the whole text when its field is not
/// there: the fields are an interface.
#[derive(Clone, Debug)]
pub struct Summary(Value);

impl Summary {
    /// Reads a summary.
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("summary {text:?}: {error}")))
    }

    /// The value at a JSON pointer.
    #[track_caller]
    fn at(&self, pointer: &str) -> &Value {
        self.0
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer} in {self}"))
    }

    /// A count.
    #[track_caller]
    pub fn count(&self, pointer: &str) -> u64 {
        self.at(pointer)
            .as_u64()
            .unwrap_or_else(|| panic!("{pointer} is no count in {self}"))
    }

    /// A word.
    #[track_caller]
    pub fn word(&self, pointer: &str) -> &str {
        self.at(pointer)
            .as_str()
            .unwrap_or_else(|| panic!("{pointer} is no word in {self}"))
    }

    /// Counts by name.
    #[track_caller]
    pub fn counts(&self, pointer: &str) -> BTreeMap<String, u64> {
        let object = self
            .at(pointer)
            .as_object()
            .unwrap_or_else(|| panic!("{pointer} in {self}"));
        let count = |value: &Value| {
            value
                .as_u64()
                .unwrap_or_else(|| panic!("{pointer} in {self}"))
        };
        object
            .iter()
            .map(|(name, value)| (name.clone(), count(value)))
            .collect()
    }

    /// Bytes that were redirected.
    #[track_caller]
    pub fn fast_bytes(&self) -> u64 {
        self.count("/bytes/fast")
    }

    /// Bytes that the stack carried.
    #[track_caller]
    pub fn stack_bytes(&self) -> u64 {
        self.count("/bytes/stack")
    }

    /// Sockets that were left on the stack for a reason.
    #[track_caller]
    pub fn left(&self, reason: &str) -> u64 {
        let all = self.counts("/left_on_stack");
        all.get(reason).copied().unwrap_or_default()
    }

    /// Asserts that bytes were redirected and nothing went wrong.
    #[track_caller]
    pub fn accelerated(&self) -> &Self {
        assert!(self.fast_bytes() > 0, "nothing was redirected: {self}");
        assert!(self.counts("/errors").is_empty(), "errors: {self}");
        self
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "summary {}", self.0)
    }
}
