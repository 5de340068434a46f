//! The fixed scenarios, by what they are about.

mod closing;
mod events;
mod options;
mod receiving;
mod sending;
mod sharing;
mod sleeping;
mod starting;

/// A scenario with its name.
pub type Named = (&'static str, &'static str);

/// All of them.
pub fn all() -> impl Iterator<Item = Named> {
    [
        sending::SCENARIOS,
        receiving::SCENARIOS,
        events::SCENARIOS,
        options::SCENARIOS,
        sleeping::SCENARIOS,
        sharing::SCENARIOS,
        closing::SCENARIOS,
        starting::SCENARIOS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
