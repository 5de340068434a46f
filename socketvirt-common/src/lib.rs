//! What the BPF programs and the agent share.
//!
//! Two kinds of modules live here. *Records* are what the maps hold, laid out
//! for C so that both sides and `bpftool` read the same bytes: [`pair`],
//! [`flow`], [`stats`], [`config`], [`layout`], [`row`] with its [`options`],
//! [`record`], [`places`],
//! [`event`]. *Rules* are the decisions that
//! keep bytes exact, as pure functions over plain numbers, so that they are
//! tested without a kernel: [`order`], [`pressure`], [`path`], [`suitable`],
//! [`worth`], [`habit`], [`looked`], [`call`], [`release`], [`pace`],
//! [`status`], [`readiness`].
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call that is left in a BPF program costs at every message, and the verifier loses track across it"
)]

#[cfg(test)]
extern crate std;

pub mod call;
pub mod config;
pub mod event;
pub mod flow;
pub mod habit;
pub mod layout;
pub mod looked;
pub mod options;
pub mod order;
pub mod pace;
pub mod pair;
pub mod path;
pub mod places;
pub mod pressure;
pub mod reader;
pub mod readiness;
pub mod reason;
pub mod record;
pub mod release;
pub mod row;
pub mod stats;
pub mod status;
pub mod suitable;
#[cfg(feature = "user")]
mod user;
pub mod watch;
pub mod worth;
