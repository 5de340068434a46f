//! Rules: the decisions that keep bytes exact, as pure functions over plain
//! numbers, so that they are tested without a kernel.
//!
//! *Adoption*: [`suitable`], [`habit`], [`looked`], [`worth`]. *Of each message*:
//! [`path`], of [`order`], [`pressure`] and [`call`]. *Leaving*: [`release`]. *Of the
//! agent*: [`pace`]. *Of the table*: [`status`], [`readiness`].

pub mod call;
pub mod habit;
pub mod looked;
pub mod order;
pub mod pace;
pub mod path;
pub mod pressure;
pub mod readiness;
pub mod release;
pub mod status;
pub mod suitable;
pub mod worth;
