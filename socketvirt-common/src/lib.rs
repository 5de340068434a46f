//! What the BPF programs and the agent share.
//!
//! Two kinds of modules live here: [`record`] is what the maps hold, [`rule`] is
//! what is decided. [`mod@reason`] is why a socket is on the stack, [`uapi`] are
//! numbers of the kernel.

#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call that is left in a BPF program costs at every message, and the verifier loses track across it"
)]

#[cfg(test)]
extern crate std;

pub mod reason;
pub mod record;
pub mod rule;
pub mod uapi;
