//! socketvirt: the sockets of a host in a table, and a fast path for
//! connections that never leave it.
//!
//! [`kernel`] knows the running kernel, [`agent`] loads the data path, [`watch`]
//! steers it, [`program`] looks at who uses it, [`doctor`] says what this kernel
//! does to accelerated sockets, [`table`] shows the sockets, [`child`] runs the
//! command under `exec`, [`mod@bench`] measures, [`output`] prints, [`cli`] is
//! what a user types.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod agent;
pub mod bench;
pub mod child;
pub mod cli;
pub mod doctor;
pub mod kernel;
pub mod output;
pub mod program;
pub mod table;
pub mod watch;
