//! The workload program: both ends of TCP connections, whose contents,
//! results and endings are checked.
//!
//! It knows nothing of socketvirt; what it checks holds for plain TCP, and so
//! it has to hold for accelerated TCP.

mod args;
mod backpressure;
mod blocking;
mod endpoint;
mod epoll;
mod exchange;
mod flow;
mod habit;
mod kv;
mod memory;
mod phases;
mod report;
mod resend;
mod script;
mod severed;
mod sides;
mod starved;
mod streams;
mod twins;
mod unread;
mod watchdog;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::conform;
use args::{Cli, Scenario};

/// Runs the scenario that the command line names.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: FAIL {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<()> {
    if cli.eager {
        watchdog::start("before", cli.deadline);
        habit::until_eager()?;
    }
    match &cli.scenario {
        Scenario::Streams(args) => streams::run(args, cli.deadline),
        Scenario::Backpressure(args) => backpressure::run(args, cli.deadline),
        Scenario::Habit(args) => habit::run(args, cli.deadline),
        Scenario::Twins(args) => twins::run(args, cli.deadline),
        Scenario::Resend(args) => resend::run(args, cli.deadline),
        Scenario::Severed => severed::run(cli.deadline),
        Scenario::Unread(args) => unread::run(args, cli.deadline),
        Scenario::Starved(args) => starved::run(args, cli.deadline),
        Scenario::Kv(args) => kv::run(args, cli.deadline),
        Scenario::Calls(args) => conform::run(args),
    }
}
