//! The known differences between an enrolled socket and plain TCP, as checks
//! that run on live connections.
//!
//! [`difference`](socketvirt_common::difference) lists the differences, [`LIST`] the checks
//! of them. The agent runs the part of it that every
//! enrolled socket depends on at each start and chooses its receive mode by
//! it; `socketvirt doctor` runs all of it, in both receive modes and on plain
//! TCP, and reports.
//!
//! A check is a short script of socket calls with an answer in words. It
//! passes when an enrolled pair answers as plain TCP does: as the check
//! expects plain TCP to answer, and, in the report, as a plain pair was seen
//! to answer a moment before.

mod calls;
mod closing;
pub mod error;
pub mod judge;
pub mod lab;
mod list;
mod options;
mod pair;
pub mod proofs;
mod queue;
mod resend;
mod sleeping;
mod sockets;
mod subflows;

use socketvirt_common::difference::Difference;
pub use socketvirt_common::difference::Keeper;

pub use self::list::LIST;
use self::{error::CheckError, pair::Pair};

/// The answer of an enrolled pair, or of a plain one.
pub type Answer = Result<String, CheckError>;

/// The check of one way in which an enrolled socket can differ from plain TCP.
pub struct Check {
    /// The difference that it tries.
    pub difference: &'static Difference,
    /// The state that the pair must be in before the script begins.
    pub enrolled: Enrolled,
    /// The script.
    pub script: fn(&mut Pair<'_>) -> Answer,
}

impl Check {
    /// True when every enrolled socket depends on it, so that it decides about
    /// the receive mode, and runs at every start of the agent.
    #[must_use]
    pub const fn concerns_every_socket(&self) -> bool {
        matches!(self.difference.keeper, Keeper::Kernel | Keeper::Rule(_))
    }
}

/// The way in which an accelerated pair gets enrolled for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// At the handshake.
    Eagerly,
    /// In mid-life, by scans: needs a TCP iterator that holds the lock.
    ByScan,
}
