//! The host: what is mounted ([`mounts`]), what lives in its file systems and
//! namespaces, and what its processes run.
//!
//! *Made*: a folder of pinned objects ([`bpffs`]) and a cgroup ([`cgroup`]), each
//! named after its [`owner`], so that what a killed agent leaves is found by the
//! next one. *Read*: processes ([`process`]), their cgroups ([`cgroup_id`]), executables
//! ([`executable`]) and the record of their dynamic loader ([`ldso`]), memory that
//! the kernel shares ([`mapping`]). [`namespaces`] reaches sockets that are not in
//! the agent's own network namespace.

pub mod bpffs;
pub mod cgroup;
pub mod cgroup_id;
pub mod cgroup_paths;
pub mod executable;
pub mod ldso;
pub mod mapping;
pub mod mounts;
pub mod namespaces;
pub mod owner;
pub mod peer;
pub mod process;

#[cfg(test)]
pub(crate) mod testing;
