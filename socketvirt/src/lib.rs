//! socketvirt: the sockets of a host in a table, and a fast path for
//! connections that never leave it.
//!
//! When both ends of a TCP connection live on one host, the bytes go from socket
//! to socket inside the kernel, past the TCP/IP stack. Its promises, in this
//! order: no byte lost, repeated or reordered; no call returns what plain TCP
//! would not have returned; never slower than plain TCP; as fast as a Unix
//! socket. Where a promise cannot be kept for a socket, it stays on plain TCP,
//! and the table says why.
//!
//! This crate is the *agent*: the process that loads the BPF programs, watches,
//! acts, and answers the operator. No byte of a connection passes through it. The
//! programs are in `socketvirt-ebpf`; [`socketvirt_common`] has the records and
//! rules that both sides share, and the words *pair*, *path*, *drained*, *habit*.
//!
//! # Modules
//!
//! From the ground up; a module uses those above it alone:
//!
//! - [`output`] prints, [`mod@log`] what the agent tells; [`mod@thread`] runs the agent's threads.
//! - [`host`] and [`bpf`] make and read what the agent needs of them.
//! - [`kernel`] knows the running kernel.
//! - [`program`] looks at who uses a socket: guards, habits.
//! - [`datapath`] loads and proves the fast path: the pinned maps, programs and
//!   links.
//! - [`policy`] says what an operator allows.
//! - [`watch`] runs the tiers: it *notes* pairs, *watches* them, and *acts*, which
//!   adopts and releases.
//! - [`table`] is the socket table, a row for each socket.
//! - [`doctor`] says what this kernel does to accelerated sockets.
//! - [`traffic`] compares two moments of the table: who carries how much, on which path.
//! - [`mod@bench`] measures.
//! - [`top`] and [`map`] show traffic, live and as a picture.
//! - [`child`] runs the command under `exec`; [`session`] is what `exec` and `run`
//!   share.
//! - [`agent`] answers the operator: status, policy, pause.
//! - [`cli`] is what a user types.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod agent;
pub mod bench;
pub mod bpf;
pub mod child;
pub mod cli;
pub mod datapath;
pub mod doctor;
pub mod host;
pub mod kernel;
pub mod log;
pub mod map;
pub mod output;
pub mod policy;
pub mod program;
pub mod session;
pub mod table;
pub mod thread;
pub mod top;
pub mod traffic;
pub mod watch;
