//! Rules: the decisions that keep bytes exact, as pure functions over plain
//! numbers, so that they are tested without a kernel.
//!
//! *Adoption*: [`policy`], [`adoption`], of [`worth`], [`suitable`], [`habit`], [`ring`],
//! [`vouch`] and [`inspected`]; under the socket's lock, [`begun`]. *Of each message*:
//! [`path`], of [`order`], [`pressure`], [`way`], [`call`] and [`watched`]. *Leaving*:
//! [`stay`], then [`release`]. *Of the agent*: [`pace`]. *Of the table*: [`status`],
//! [`readiness`].

pub mod adoption;
pub mod begun;
pub mod call;
pub mod habit;
pub mod inspected;
pub mod order;
pub mod pace;
pub mod path;
pub mod policy;
pub mod pressure;
pub mod readiness;
pub mod release;
pub mod ring;
pub mod status;
pub mod stay;
pub mod suitable;
pub mod vouch;
pub mod watched;
pub mod way;
pub mod worth;
