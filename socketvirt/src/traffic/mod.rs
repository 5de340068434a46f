//! Traffic between the sockets of a host: who carries how much, on which path.
//!
//! A [`snapshot`] keeps of a table what traffic is told by. [`rates`] compares two of
//! them, pair by pair; [`groups`] adds up the pairs of the same programs. All of it is
//! computed from plain numbers.

pub mod counts;
pub mod groups;
pub mod header;
pub mod look;
pub mod pairs;
pub mod place;
pub mod rates;
#[cfg(test)]
pub(crate) mod sample;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub mod units;

/// Version of the JSON of `top` and `map`: it changes when a field goes or changes its
/// meaning, not when one is added.
pub const SCHEMA: u32 = 1;
