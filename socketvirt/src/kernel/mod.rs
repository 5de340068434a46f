//! What the agent asks of the running kernel, and the objects that it makes
//! there.
//!
//! *Asked*: whether it can carry the data path at all ([`require`]), where it
//! keeps what the programs read ([`layout`] with [`charges`], from [`btf`] and [`symbols`]),
//! what programs may load of it ([`cast`]), what is mounted ([`mounts`]), what it shares as memory ([`mapping`]), why it refused a program ([`refusal`]). *Made*: a folder of pinned objects
//! ([`bpffs`]) and a cgroup ([`cgroup`]), each named after its [`owner`], so
//! that what a killed agent leaves is found by the next one, and marked with the
//! build that made it ([`object`]). [`namespaces`]
//! reaches sockets that are not in the agent's own network namespace.

pub mod bpffs;
pub mod btf;
pub mod capabilities;
pub mod cast;
pub mod cgroup;
pub mod cgroup_id;
pub mod charges;
pub mod executable;
pub mod layout;
pub mod loader;
pub mod mapping;
pub mod mounts;
pub mod namespaces;
pub mod object;
pub mod owner;
pub mod places;
pub mod refusal;
pub mod require;
pub mod symbols;

#[cfg(test)]
mod testing;
