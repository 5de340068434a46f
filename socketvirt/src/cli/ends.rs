//! The signals that end a command that works until it is told to stop.

use anyhow::{Context as _, Result};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};

/// SIGINT and SIGTERM, to be read instead of ending the process. To be called
/// before any thread is started: one that has them not blocked would be ended.
pub fn signals() -> Result<SignalFd> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block().context("blocking signals failed")?;
    SignalFd::new(&ends).context("making a signal descriptor failed")
}
