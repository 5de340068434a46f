//! `socketvirt bench`, and the hidden worker that it starts.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;

pub use crate::bench::{Args, WorkerArgs};
use crate::{bench, output};

/// Runs the benchmark and prints its report on standard output.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every command is handed what it was parsed to"
)]
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let terminal = io::stderr().is_terminal();
    let report = bench::run(&args, &mut |doing| {
        if terminal {
            output::tell(format_args!("\r\x1b[K{doing}"));
        } else {
            output::tell(format_args!("{doing}\n"));
        }
    })?;
    if terminal {
        output::tell(format_args!("\r\x1b[K"));
    }
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("put the report into JSON")? + "\n"
    } else {
        report.to_string()
    };
    let _printed = output::print(&text).context("print the report")?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the benchmark over standard input and output.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every command is handed what it was parsed to"
)]
pub fn worker(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    bench::work(&args)?;
    Ok(ExitCode::SUCCESS)
}
