//! Programs: what those that use watched sockets can do, and have shown.
//!
//! [`readers`] inspects who reads a socket, before it is adopted. At a handshake
//! nobody has read yet, so in eager mode [`splicers`] inspects every process of
//! the cgroups, as soon as it begins ([`begun`]). [`habits`] remembers what
//! programs have shown.

pub mod begun;
pub mod files;
pub mod habits;
pub mod holders;
pub mod maps;
pub mod readers;
pub mod ringed;
pub mod rings;
pub mod splicers;
