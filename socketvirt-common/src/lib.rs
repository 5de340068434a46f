//! Records and rules that the BPF programs and the agent of socketvirt share.
//!
//! socketvirt moves the bytes of TCP connections with both ends on one host from
//! socket to socket, past the TCP/IP stack. Its first law: an application can
//! never tell it from plain TCP.
//!
//! Three kinds of modules live here:
//!
//! - *Records* are what the maps hold, laid out for C so that both sides and
//!   `bpftool` read the same bytes: [`record::pair`], [`record::flow`], [`record::watch`], [`record::stats`],
//!   [`record::config`], [`record::layout`], [`record::row`] with its [`record::options`], [`record`],
//!   [`record::fields`], [`record::event`].
//! - *Rules* are the decisions that keep bytes exact. They are pure functions
//!   over plain numbers, so that they are tested without a kernel: [`rule::order`],
//!   [`rule::pressure`], [`rule::path`], [`rule::adoption`], [`rule::suitable`], [`rule::worth`], [`rule::habit`], [`rule::inspected`],
//!   [`rule::call`], [`rule::stay`], [`rule::release`], [`rule::pace`], [`rule::status`], [`rule::readiness`].
//! - *Lists* are what people are told: reasons ([`mod@reason`]), and differences from
//!   plain TCP ([`difference`]). The docs are made of them.
//!
//! # Words
//!
//! - *Socket table*, *row*: all sockets, and what is known of one ([`record::row`]). Its
//!   *status* is one of ten words ([`rule::status`]).
//! - *Pair*, *end*: a connection with both ends on this host, and one of them.
//!   The *handshake id* names a connection, the *packet hash* proves a pair
//!   ([`record::pair`]).
//! - *Enrol*, *release*: put a socket into the SOCKHASH, and take it out
//!   ([`rule::suitable`], [`rule::release`]).
//! - *Adopt*, *eager*: enrol in mid-life after proof, or at the handshake without
//!   ([`record::config`]).
//! - *Path*: the way of one direction, the stack or the fast one ([`rule::path`]).
//!   What keeps it on the stack is a *reason* ([`mod@reason`]).
//! - *Drained*: the receiver has consumed every byte that the sender ever gave to
//!   the stack ([`rule::order`]).
//! - *Guard*, *habit*: a check that keeps a socket off the fast path, and what a
//!   program is remembered for ([`record::reader`], [`rule::habit`]).
//! - *Note*, *watch*, *act*: the three tiers that find, measure and change pairs
//!   ([`record::watch`]).

#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call that is left in a BPF program costs at every message, and the verifier loses track across it"
)]

#[cfg(any(test, feature = "user"))]
extern crate std;

// For `pod!`.
#[cfg(feature = "user")]
#[doc(hidden)]
pub use {aya, zerocopy};

pub mod difference;
pub mod reason;
pub mod record;
pub mod rule;
pub mod uapi;
