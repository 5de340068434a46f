//! The difference between the mode that was asked for and the one that is on.

use std::fmt;

use socketvirt_common::record::config::{Mode, ReceiveMode};

use crate::{bpf::error::BpfError, datapath::selftest::Outcome, kernel::require};

/// One reason why less is on than was asked for, in words that an operator can act
/// on.
#[derive(Debug, thiserror::Error)]
pub enum Degraded {
    /// The self-test passed in no receive mode.
    #[error(
        "nothing is accelerated on Linux {release}: {defects}; `socketvirt doctor` says what to do, \
         and `socketvirt table` works all the same"
    )]
    Kernel {
        /// The kernel's name for itself.
        release: String,
        /// The first defect of each receive mode.
        defects: String,
    },
    /// The self-test passed in a lesser receive mode.
    #[error("receive mode {} is not used: {defect}", mode.word())]
    ReceiveMode {
        /// The mode that failed.
        mode: ReceiveMode,
        /// Its first defect.
        defect: String,
    },
    /// splice(2) is not watched: a program that splices would hang.
    #[error(
        "nothing is accelerated, because splice(2) cannot be watched: {0}; `socketvirt doctor` says \
         what to do"
    )]
    Splice(#[source] BpfError),
    /// Receive calls are not watched: the reader of a socket stays unknown.
    #[error(
        "nothing is accelerated, because who reads a socket cannot be watched: {0}; `socketvirt \
         doctor` says what to do"
    )]
    Readers(#[source] BpfError),
    /// A visit cannot have the end of a connection told.
    #[error(
        "nothing is adopted: before Linux 6.12 a visit cannot have a connection's end told; use \
         Linux 6.12 or newer"
    )]
    Visits,
    /// Processes are outside of the agent's pid namespace.
    #[error(
        "eager mode is not used, connections are adopted: processes outside of this pid namespace \
         cannot be inspected before their sockets are enrolled; run the agent in the pid namespace \
         of the host"
    )]
    Hidden,
    /// The begin of a program is not noticed.
    #[error(
        "programs cannot be watched as they begin, so eager mode is not used, and a process that \
         runs another program is not inspected again: {0}"
    )]
    Programs(#[source] BpfError),
    /// The making of an `io_uring` is not noticed.
    #[error("programs that make an io_uring are found by the next look only: {0}")]
    Rings(#[source] BpfError),
    /// What the operator vouches for is not relied on.
    #[error("{0}")]
    Vouch(&'static str),
}

impl Degraded {
    /// Returns the name of the reason in JSON; it never changes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "kernel",
            Self::ReceiveMode { .. } => "receive_mode",
            Self::Splice(_) => "splice",
            Self::Readers(_) => "readers",
            Self::Visits => "visits",
            Self::Hidden => "hidden",
            Self::Programs(_) => "programs",
            Self::Rings(_) => "rings",
            Self::Vouch(_) => "vouch",
        }
    }

    /// Returns the mode that this leaves of `mode`.
    const fn leaves(&self, mode: Mode) -> Mode {
        match (self, mode) {
            (Self::Kernel { .. } | Self::Splice(_) | Self::Readers(_), _)
            | (Self::Visits, Mode::Adopt) => Mode::Off,
            (Self::Hidden | Self::Programs(_), Mode::Eager) => Mode::Adopt,
            _ => mode,
        }
    }
}

/// A mode that was asked for, and what is on.
#[derive(Debug)]
pub struct Effective {
    /// The mode that was asked for.
    pub asked: Mode,
    /// The mode that is on.
    pub mode: Mode,
    /// The way in which enrolled sockets receive.
    pub receive_mode: ReceiveMode,
    /// All that makes it less, in the order of the start.
    pub degraded: Vec<Degraded>,
}

impl Effective {
    /// Begins with all that is asked for, before the self-test.
    #[must_use]
    pub const fn new(asked: Mode) -> Self {
        Self {
            asked,
            mode: asked,
            receive_mode: ReceiveMode::TableOnly,
            degraded: Vec::new(),
        }
    }

    /// Takes a reason into account.
    pub fn degrade(&mut self, reason: Degraded) {
        self.mode = reason.leaves(self.mode);
        self.degraded.push(reason);
    }

    /// Takes the outcome of the self-test into account.
    pub fn tested(&mut self, outcome: Outcome) {
        self.receive_mode = outcome.receive_mode;
        if outcome.receive_mode != ReceiveMode::TableOnly {
            for (mode, defect) in outcome.defects {
                self.degrade(Degraded::ReceiveMode { mode, defect });
            }
            return;
        }
        let mut defects: Vec<String> = Vec::new();
        for (_, defect) in outcome.defects {
            if !defects.contains(&defect) {
                defects.push(defect);
            }
        }
        self.degrade(Degraded::Kernel {
            release: require::release(),
            defects: defects.join("; "),
        });
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, receive) = (self.asked.word(), self.receive_mode.word());
        match self.mode {
            Mode::Off => write!(
                f,
                "not accelerating: mode {asked} was asked for, but is off"
            ),
            mode if mode == self.asked => {
                write!(f, "accelerating in mode {asked}, receive mode {receive}")
            }
            mode => write!(
                f,
                "accelerating in mode {} instead of {asked}, receive mode {receive}",
                mode.word()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> BpfError {
        BpfError::Missing("sv_exec")
    }

    fn after(asked: Mode, reasons: impl IntoIterator<Item = Degraded>) -> Effective {
        let mut effective = Effective::new(asked);
        let defects = vec![(ReceiveMode::Unified, "a defect".to_owned())];
        effective.tested(Outcome {
            receive_mode: ReceiveMode::TxOnly,
            defects,
        });
        reasons
            .into_iter()
            .for_each(|reason| effective.degrade(reason));
        effective
    }

    #[test]
    fn each_reason_leaves_what_it_permits() {
        use Degraded::{Hidden, Programs, Readers, Rings, Splice, Visits, Vouch};
        use Mode::{Adopt, Eager, Off};
        for (asked, reason, left) in [
            (Adopt, Splice(missing()), Off),
            (Eager, Splice(missing()), Off),
            (Adopt, Readers(missing()), Off),
            (Eager, Readers(missing()), Off),
            (Adopt, Visits, Off),
            (Eager, Visits, Eager),
            (Adopt, Hidden, Adopt),
            (Eager, Hidden, Adopt),
            (Adopt, Programs(missing()), Adopt),
            (Eager, Programs(missing()), Adopt),
            (Adopt, Rings(missing()), Adopt),
            (Eager, Rings(missing()), Eager),
            (Adopt, Vouch("words"), Adopt),
            (Eager, Vouch("words"), Eager),
        ] {
            let name = reason.name();
            assert_eq!(after(asked, [reason]).mode, left, "{asked:?} {name}");
        }
        // Adopted instead, where nothing can be.
        assert_eq!(after(Eager, [Hidden, Visits]).mode, Off);
        assert_eq!(after(Eager, [Splice(missing()), Hidden]).mode, Off);
    }

    #[test]
    fn what_is_on_is_told_beside_what_was_asked_for() {
        let told = |asked, reasons: Vec<Degraded>| after(asked, reasons).to_string();
        assert_eq!(
            told(Mode::Adopt, Vec::new()),
            "accelerating in mode adopt, receive mode tx-only"
        );
        assert_eq!(
            told(Mode::Eager, vec![Degraded::Hidden]),
            "accelerating in mode adopt instead of eager, receive mode tx-only"
        );
        assert!(told(Mode::Adopt, vec![Degraded::Visits]).starts_with("not accelerating: "));
    }

    #[test]
    fn a_kernel_that_passes_nothing_has_each_defect_told_once() {
        let mut effective = Effective::new(Mode::Eager);
        let defect = |mode| (mode, "a defect".to_owned());
        effective.tested(Outcome {
            receive_mode: ReceiveMode::TableOnly,
            defects: [ReceiveMode::Unified, ReceiveMode::TxOnly]
                .map(defect)
                .into(),
        });
        assert_eq!(effective.mode, Mode::Off);
        let words = effective.degraded[0].to_string();
        assert!(
            words.starts_with("nothing is accelerated on Linux "),
            "{words}"
        );
        assert_eq!(words.matches("a defect").count(), 1, "{words}");
    }
}
