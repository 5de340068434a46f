//! The three tiers: cost follows the work, not the size of the host.
//!
//! *Note* is the kernel side's: it finds pairs at their handshake. *Watch* looks
//! at the pairs, without a lock, as often as there is something to see. *Act*
//! walks the TCP sockets of a namespace, under their locks, only while one of them
//! wants to change. What runs them is [`tiers`](crate::datapath::tiers); what is
//! decided here is when.

pub mod error;
mod memory;
pub mod pulse;
pub mod scope;
pub mod steering;
mod tracing;
pub mod waiting;
pub mod watcher;
pub mod watching;
