//! socketvirt: the sockets of a host in a table, and a fast path for
//! connections that never leave it.
//!
//! From the ground up: [`output`] prints, [`host`] and [`bpf`] make and read what
//! the agent needs of them, [`kernel`] knows the running kernel, [`program`] looks at
//! who uses sockets, [`datapath`] loads and proves the fast path, [`watch`] steers
//! it, [`table`] shows the sockets, [`doctor`] says what this kernel does to
//! accelerated ones, [`mod@bench`] measures, [`child`] runs the command under `exec`,
//! [`session`] is what `exec` and `run` share, [`cli`] is what a user types.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod bench;
pub mod bpf;
pub mod child;
pub mod cli;
pub mod datapath;
pub mod doctor;
pub mod host;
pub mod kernel;
pub mod output;
pub mod program;
pub mod session;
pub mod table;
pub mod watch;
