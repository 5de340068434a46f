//! `socketvirt run`: keeps the table of the host.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use nix::{
    sys::signal::{SigSet, Signal},
    sys::signalfd::SignalFd,
};

use crate::table::keeper::{Keeper, Options};

/// Arguments of `socketvirt run`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Rows at most; each takes about 1 KB of kernel memory, from the start.
    #[arg(long, value_name = "ROWS", default_value_t = Options::default().rows, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Milliseconds from one scan to the next, at least; scans take at most
    /// 1% of one CPU whatever this says.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_interval: u64,
}

/// Keeps the table until SIGINT or SIGTERM.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    // Before any thread is started, so that no signal ends the process at once.
    ends.thread_block().context("blocking signals failed")?;
    let signals = SignalFd::new(&ends).context("making a signal descriptor failed")?;
    let keeper = Keeper::start(&Options {
        rows: args.rows,
        interval: Duration::from_millis(args.scan_interval),
    })?;
    eprintln!("socketvirt: keeping the table at /sys/fs/bpf/socketvirt, until SIGINT or SIGTERM");
    signals
        .read_signal()
        .context("waiting for a signal failed")?;
    if !keeper.is_scanning() {
        keeper.finish()?;
        bail!("the scans had ended");
    }
    let stats = keeper.finish()?;
    eprintln!(
        "socketvirt: {} sockets found no room, {} closed ones made room, {} events were lost",
        stats.missing, stats.evicted, stats.lost
    );
    Ok(ExitCode::SUCCESS)
}
