//! The data path: pinned maps, programs and links, which live on without the
//! agent.
//!
//! [`load`] loads and attaches it, `trace` watches programs beside it, into a
//! home whose objects [`home`] names; [`calls`] attaches and detaches what every receive
//! of the host passes; [`config`] switches it and [`stats`] reads
//! its counters. [`checks`] are the known differences from plain TCP, [`selftest`]
//! chooses the receive mode by them. [`tiers`] runs looks, and walks namespaces,
//! which [`spaces`] opens. [`pinned`] opens what is pinned. [`takeover`] finds
//! the data path of an agent that is gone, [`exchange`] puts this build's programs behind
//! the maps of another's, [`leftovers`] takes away what killed ones have left.

pub mod calls;
pub mod checks;
pub mod config;
pub mod exchange;
pub mod home;
pub mod leftovers;
pub mod load;
pub mod pinned;
pub mod selftest;
pub mod spaces;
pub mod stats;
pub mod takeover;
pub mod tiers;
mod trace;
