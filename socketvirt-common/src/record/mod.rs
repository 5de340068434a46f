//! Records: what the maps hold and the iterators write, laid out for C so that
//! both sides and `bpftool` read the same bytes.
//!
//! *Of the fast path*: [`config`], [`layout`], [`pair`], [`flow`], [`watch`],
//! [`reader`], [`program`], [`policy`], [`stats`]. *Of the socket table*: [`row`] with its
//! [`status`], [`options`] and [`text`]; [`fields`], [`event`], [`stream`].
//! The fields of the kernel that both read are in tables of [`mod@line`]s.

pub mod config;
pub mod event;
pub mod fields;
pub mod flow;
pub mod layout;
pub mod line;
pub mod options;
pub mod pair;
pub mod policy;
pub mod program;
#[cfg(feature = "user")]
pub mod raw;
pub mod reader;
pub mod row;
pub mod stats;
pub mod status;
pub mod stream;
pub mod text;
#[cfg(feature = "user")]
mod user;
pub mod watch;

/// A record whose bytes are all zero: what a map holds before it is written.
pub(crate) const fn zeroed<T: zerocopy::FromZeros>() -> T {
    // SAFETY: the bound says that zeros are a value of it.
    unsafe { core::mem::zeroed() }
}
