//! A program to try: what is run, what it needs, and what is known of it.

use std::{path::Path, time::Duration};

use anyhow::Result;
use xtask::setup::Extra;

/// The side on which a program runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// By itself.
    Plain,
    /// Under `socketvirt exec --mode adopt`.
    Adopt,
    /// Under `socketvirt exec --mode eager`.
    Eager,
}

impl Side {
    pub const ACCELERATED: [Self; 2] = [Self::Adopt, Self::Eager];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Adopt => "adopt",
            Self::Eager => "eager",
        }
    }
}

/// One line of the table.
pub struct Program {
    pub name: &'static str,
    /// The trial, in few words.
    pub what: &'static str,
    /// Debian packages, beside those that `cargo xtask setup` installs.
    pub packages: &'static [Extra<'static>],
    /// Makes what cannot be had as a package; once, kept in the folder that is handed over.
    pub prepare: Option<fn(&Path) -> Result<()>>,
    /// Files of the run's folder: name and text. `main.py` is what runs.
    pub files: &'static [(&'static str, &'static str)],
    pub arguments: &'static [&'static str],
    /// Arguments of the form that `cargo xtask test` runs; without them, it does not.
    pub short: Option<&'static [&'static str]>,
    /// Of one run.
    pub limit: Duration,
    pub known: &'static [Known],
}

/// A difference that is known, with its reason: told in the table, and no failure.
///
/// Mostly of `eager`: it enrols what cannot be kept equal, and says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Part of the fact's name; empty for all of them.
    pub fact: &'static str,
    pub reason: &'static str,
    /// The modes that show it.
    pub sides: &'static [Side],
}

/// The side of most differences.
pub const EAGER: &[Side] = &[Side::Eager];

impl Program {
    /// The reason why this side may differ in this fact.
    pub fn known(&self, side: Side, fact: &str) -> Option<&'static str> {
        self.known
            .iter()
            .find(|known| known.sides.contains(&side) && fact.contains(known.fact))
            .map(|known| known.reason)
    }
}

/// The support code of all Python files.
pub const SUPPORT: (&str, &str) = ("compat.py", include_str!("../data/compat.py"));

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The reason that blocking programs are not for eager mode.
pub const BLOCKING: &str = "a blocking recv that is woken without data ends with EAGAIN";
