//! SIGINT and SIGTERM, taken as a wish to end in order.

use std::{error::Error, fmt};

use anyhow::{Context as _, Result, bail};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// One of them has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

/// Both signals, blocked: they wait here until they are asked for, so that guards clean up on the way out. Processes
/// that are started meanwhile block them too.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Blocks them in this thread and those that it starts.
    pub fn block() -> Result<Self> {
        let mut ends = SigSet::empty();
        ends.add(Signal::SIGINT);
        ends.add(Signal::SIGTERM);
        ends.thread_block().context("blocking signals")?;
        SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .context("making a signal descriptor")
    }

    /// Fails with [`Interrupted`] when one of them has come.
    pub fn check(&self) -> Result<()> {
        let signal = self.0.read_signal().context("reading signals")?;
        if signal.is_some() {
            bail!(Interrupted);
        }
        Ok(())
    }
}
