//! Who talks to whom, as a tree in text and as a picture.
//!
//! [`layers`] puts programs into columns, clients left of their servers; [`layout`] gives
//! everything its place, [`letters`] says how much room a name takes, [`svg`] draws.

pub mod layers;
pub mod layout;
pub mod letters;
pub mod svg;
pub mod text;

use crate::traffic::{groups::Groups, rates::Rates};

/// Programs that are drawn, at most; others become one.
pub const NODES: usize = 30;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The name of the host.
    pub host: String,
    /// Who talks to whom.
    pub groups: Groups,
    /// Programs in all.
    pub programs: usize,
    /// The rates that it was made of, for their totals.
    pub rates: Rates,
}

impl Drawn {
    /// Says in a line what there is to see.
    #[must_use]
    pub fn summary(&self) -> String {
        use crate::traffic::units;
        let totals = &self.rates.totals;
        let fast = match totals.fast_share {
            None => String::new(),
            share => format!(" ({} fast)", units::share(share)),
        };
        format!(
            "{} of {}, {}{fast}, over {:.1} s",
            counted(totals.pairs, "connection"),
            counted(self.programs, "program"),
            units::bytes(totals.bytes_per_s),
            self.rates.over_seconds
        )
    }
}

/// `1 connection`, `2 connections`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
