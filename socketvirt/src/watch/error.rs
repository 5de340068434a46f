//! The errors of the watching thread.

use std::io;

use super::{tracing::TracingError, waiting::WaitError};
use crate::{
    bpf::error::BpfError, datapath::tiers::TierError, policy::store::StoreError, thread::Panicked,
};

/// The tiers failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// One of the tiers.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The switches could not be set, or what was found not be written down.
    #[error("writing a map of the data path failed: {0}")]
    Map(#[from] aya::maps::MapError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] StoreError),
    /// The counters could not be read.
    #[error(transparent)]
    Stats(#[from] BpfError),
    /// Between two looks.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The trace points of calls.
    #[error(transparent)]
    Tracing(#[from] TracingError),
    /// There is no thread for it.
    #[error("starting the watching thread failed: {0}")]
    Start(#[source] io::Error),
    /// The thread has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}
