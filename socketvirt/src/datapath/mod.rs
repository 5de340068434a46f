//! The data path: pinned maps, programs and links, which live on without the
//! agent.
//!
//! [`load`] loads and attaches it, `trace` watches programs beside it, into a
//! home whose objects [`home`] names; [`config`] switches it and [`stats`] reads
//! its counters. [`checks`] are the known differences from plain TCP, [`selftest`]
//! chooses the receive mode by them. [`tiers`] runs looks, and walks namespaces,
//! which [`spaces`] opens. [`leftovers`] takes away what a killed agent
//! has left.

pub mod checks;
pub mod config;
pub mod home;
pub mod leftovers;
pub mod load;
pub mod selftest;
pub mod spaces;
pub mod stats;
pub mod tiers;
mod trace;
