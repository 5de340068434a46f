//! The screen of `top`: [`state`] is what is shown, and what keys change; [`draw`] draws
//! it; [`live`] has the terminal.

pub mod cells;
pub mod draw;
pub mod live;
pub mod state;

use crate::traffic::{header::Header, rates::Rates};

/// What a look brings.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// What is on.
    pub header: Header,
    /// The traffic since the look before.
    pub rates: Rates,
}
