//! socketvirt: the sockets of a host in a table, and a fast path for
//! connections that never leave it.
//!
//! [`kernel`] knows the running kernel, [`agent`] loads and steers the data
//! path, [`table`] shows the sockets, [`child`] runs the command under `exec`, [`mod@bench`] measures, [`cli`]
//! is what a user types.

pub mod agent;
pub mod bench;
pub mod child;
pub mod cli;
pub mod kernel;
pub mod table;
