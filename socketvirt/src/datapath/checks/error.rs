//! Checks that have no answer.

use std::io;

use crate::{bpf::error::BpfError, datapath::tiers::TierError};

/// A check has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The data path failed.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// A switch could not be set.
    #[error("setting a switch failed: {0}")]
    Switch(#[from] aya::maps::MapError),
    /// A tier failed.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// A call that has nothing to do with the difference failed.
    #[error("the check could not {attempt}: {source}")]
    Setup {
        /// The attempt.
        attempt: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// This kernel does not have what the check is about.
    #[error("this kernel has no {0}")]
    Absent(&'static str),
    /// The data path left the message on the stack.
    #[error("a message that could be redirected was not")]
    NotRedirected,
    /// The pair could not be enrolled as the check needs it.
    #[error("{0}")]
    NotEnrolled(String),
}

impl CheckError {
    /// For `map_err`: a call of the check itself that failed.
    pub(super) fn setup(attempt: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Setup { attempt, source }
    }
}
