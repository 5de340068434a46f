//! Records and rules that the BPF programs and the agent of socketvirt share.
//!
//! socketvirt moves the bytes of TCP connections with both ends on one host from
//! socket to socket, past the TCP/IP stack. Its first law: an application can
//! never tell it from plain TCP.
//!
//! Two kinds of modules live here:
//!
//! - *Records* are what the maps hold, laid out for C so that both sides and
//!   `bpftool` read the same bytes: [`pair`], [`flow`], [`watch`], [`stats`],
//!   [`config`], [`layout`], [`row`] with its [`options`], [`record`],
//!   [`places`], [`event`].
//! - *Rules* are the decisions that keep bytes exact. They are pure functions
//!   over plain numbers, so that they are tested without a kernel: [`order`],
//!   [`pressure`], [`path`], [`suitable`], [`worth`], [`habit`], [`looked`],
//!   [`call`], [`release`], [`pace`], [`status`], [`readiness`].
//!
//! # Words
//!
//! - *Socket table*, *row*: all sockets, and what is known of one ([`row`]). Its
//!   *status* is one of ten words ([`status`]).
//! - *Pair*, *end*: a connection with both ends on this host, and one of them.
//!   The *handshake id* names a connection, the *packet hash* proves a pair
//!   ([`pair`]).
//! - *Enrol*, *release*: put a socket into the SOCKHASH, and take it out
//!   ([`suitable`], [`release`]).
//! - *Adopt*, *eager*: enrol in mid-life after proof, or at the handshake without
//!   ([`config`]).
//! - *Path*: the way of one direction, the stack or the fast one ([`path`]).
//!   What keeps it on the stack is a *reason* ([`reason`]).
//! - *Drained*: the receiver has consumed every byte that the sender ever gave to
//!   the stack ([`order`]).
//! - *Guard*, *habit*: a check that keeps a socket off the fast path, and what a
//!   program is remembered for ([`reader`], [`habit`]).
//! - *Note*, *watch*, *act*: the three tiers that find, measure and change pairs
//!   ([`watch`]).
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
