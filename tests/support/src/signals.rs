//! SIGINT and SIGTERM, taken as a wish to end in order.

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

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

    /// Fails when one of them has come.
    pub fn check(&self) -> Result<()> {
        let signal = self.0.read_signal().context("reading signals")?;
        ensure!(signal.is_none(), "interrupted");
        Ok(())
    }
}
