//! `socketvirt doctor`: what this kernel does to accelerated sockets.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::sys::signal::{SigSet, Signal};

use crate::{doctor, output};

/// Ends with 0 when acceleration is advisable here, and with 1 when it is not.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print JSON, as docs/compatibility.md describes it.
    #[arg(long)]
    json: bool,
}

/// Examines the machine and prints the report.
pub fn run(args: &Args) -> Result<ExitCode> {
    // A signal waits for the second that this takes, so that nothing is left.
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block().context("blocking signals failed")?;
    let report = doctor::examine();
    ends.thread_unblock().context("unblocking signals failed")?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("putting the report into JSON failed")? + "\n"
    } else {
        doctor::render(&report)
    };
    let _printed = output::print(&text).context("writing the report failed")?;
    Ok(if report.advisable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
