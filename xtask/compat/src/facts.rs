//! Facts of a run, as names with values: the outcome of each test of a suite, the checksum of a
//! file that came over a socket, the words that a server answered.
//!
//! A program writes a fact as soon as it knows it, one `name<TAB>value` a line, so that a run that
//! hangs or dies still tells how far it came.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};

/// The fact that every run has: how it ended.
pub const END: &str = "end";

/// Its value where all went well.
pub const SUCCESS: &str = "success";

/// The facts that one run found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Reads what a run wrote; nothing if it did not come so far.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once('\t').unwrap_or((line, ""));
            facts.set(name, value);
        }
        facts
    }

    /// A name that comes twice has both values, in their order.
    pub fn set(&mut self, name: &str, value: &str) {
        let entry = self.0.entry(name.to_owned()).or_default();
        if !entry.is_empty() {
            entry.push_str(" | ");
        }
        entry.push_str(value);
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_facts() {
        let facts = Facts::parse("test a\tok\nsum\t1 2\nalone\n");
        assert_eq!(facts.get("test a"), Some("ok"));
        assert_eq!(facts.get("sum"), Some("1 2"));
        assert_eq!(facts.get("alone"), Some(""));
        assert_eq!(facts.get("other"), None);
        assert_eq!(facts.len(), 3);
    }

    #[test]
    fn a_repeated_name_does_not_hide_its_first_value() {
        let facts = Facts::parse("sum\t1\nsum\t2\n");
        assert_eq!(facts.get("sum"), Some("1 | 2"));
    }
}
