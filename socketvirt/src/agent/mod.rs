//! The agent's control: what an operator asks of a running agent, and how it
//! answers.
//!
//! ```text
//! socketvirt status|pause|resume      curl --unix-socket ... http://agent/v1/status
//!            | client                          |
//!            +---------- socket: HTTP ---------+
//!                          | server: limits, who may
//!                          | api: routes
//!                          v
//!                        state ----> steering: the watching thread
//!                          +-------> pinned maps: counters, policy
//! ```
//!
//! [`mod@notify`] tells a service manager. [`control`] runs the socket, in a thread of its own beside watch and act: a request
//! never holds them up. What comes in is hostile until it has proved otherwise:
//! [`mod@server`] says how much of it there may be.

pub mod api;
pub mod client;
pub mod control;
mod kept;
pub mod metrics;
pub mod notify;
pub mod server;
pub mod socket;
pub mod state;
pub mod status;
pub mod text;

/// The path of the control socket, unless another one is told.
pub const SOCKET: &str = "/run/socketvirt/admin.sock";
