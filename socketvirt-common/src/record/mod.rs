//! Records: what the maps hold and the iterators write, laid out for C so that
//! both sides and `bpftool` read the same bytes.
//!
//! *Of the fast path*: [`config`], [`layout`], [`pair`], [`flow`], [`watch`],
//! [`reader`], [`stats`]. *Of the socket table*: [`row`] with its [`options`],
//! [`places`], [`event`], [`stream`].

pub mod config;
pub mod event;
pub mod flow;
pub mod layout;
pub mod options;
pub mod pair;
pub mod places;
pub mod reader;
pub mod row;
pub mod stats;
pub mod stream;
#[cfg(feature = "user")]
mod user;
pub mod watch;
