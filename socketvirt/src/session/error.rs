//! What keeps a run from its start, or from its end.

use std::io;

use super::scope::again::FollowError;
use crate::{
    bpf::error::BpfError,
    datapath::{home::HomeError, selftest::SelfTestError},
    host::{bpffs::PinError, cgroup::CgroupError},
    kernel::{layout::LayoutError, require::Requirement},
    policy::{PolicyError, store::StoreError},
    watch::error::WatchError,
};

/// A run could not be started or ended as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The machine or the caller lacks something.
    #[error(transparent)]
    Requirement(#[from] Requirement),
    /// The kernel's structures are not what the programs need.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The pinned objects.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The programs and maps.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The self-test.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] StoreError),
    /// The policy of an agent that has none.
    #[error(transparent)]
    Parse(#[from] Box<PolicyError>),
    /// Its home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The watching thread.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A trace point that is not needed.
    #[error("detaching the trace point of receive calls failed: {0}")]
    Narrow(#[source] io::Error),
    /// The thread that follows the cgroup.
    #[error(transparent)]
    Follow(#[from] FollowError),
}
