//! The known differences between an enrolled socket and plain TCP, as checks
//! that run on live connections.
//!
//! There is one list, [`LIST`]. The agent runs the part of it that every
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

use socketvirt_common::reason::Reason;

pub use self::list::LIST;
use self::{lab::CheckError, pair::Pair};

/// What an enrolled pair, or a plain one, answers.
pub type Answer = Result<String, CheckError>;

/// One way in which an enrolled socket can differ from plain TCP.
pub struct Check {
    /// Its name in JSON; never changed.
    pub name: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// What kernels do to an enrolled socket, as far as they differ.
    pub fact: &'static str,
    /// What plain TCP answers.
    pub plain: &'static str,
    /// From which kernel version on the difference is gone, where known.
    pub fixed_in: Option<&'static str>,
    /// What a difference leads to.
    pub keeper: Keeper,
    /// What the pair must be before the script begins.
    pub enrolled: Enrolled,
    /// The script.
    pub script: fn(&mut Pair<'_>) -> Answer,
}

impl Check {
    /// Whether every enrolled socket depends on it, so that it decides about
    /// the receive mode, and runs at every start of the agent.
    #[must_use]
    pub const fn concerns_every_socket(&self) -> bool {
        matches!(self.keeper, Keeper::Kernel | Keeper::Rule(_))
    }
}

/// How an accelerated pair gets enrolled for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// At the handshake.
    Eagerly,
    /// In mid-life, by scans: needs a TCP iterator that holds the lock.
    ByScan,
}

/// What keeps a difference away from programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Nothing but a kernel that gets it right: every enrolled socket depends
    /// on it, so a receive mode that differs is not used.
    Kernel,
    /// A rule of the data path, by its word. With it an enrolled pair answers
    /// as plain TCP; a receive mode in which it does not is not used.
    Rule(&'static str),
    /// A guard: sockets that could show it are not enrolled, or released, for
    /// this reason. In eager mode, only those that could show it before the
    /// handshake, and later those that are non-blocking.
    Guard(Reason),
    /// A guard of adopt mode alone.
    AdoptGuard(Reason),
    /// A guard that comes late: some programs show it before they do it, and
    /// are kept off; the others are remembered and show it once. What the
    /// operator can do.
    LateGuard(Reason, &'static str),
    /// Nothing. What the operator can do.
    Nobody(&'static str),
}
