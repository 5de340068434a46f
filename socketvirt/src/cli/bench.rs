//! `socketvirt bench`, and the hidden worker that it starts.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::bench;
pub use crate::bench::{Args, WorkerArgs};

/// Runs the benchmark and prints its report on standard output.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every command is handed what it was parsed to"
)]
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let terminal = io::stderr().is_terminal();
    let report = bench::run(&args, &mut |doing| {
        let mut err = io::stderr().lock();
        // Progress is a courtesy: a closed standard error must not end a run.
        let _shown = if terminal {
            write!(err, "\r\x1b[K{doing}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{doing}")
        };
    })?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).context("print the report")?;
        writeln!(out)
    } else {
        write!(out, "{report}")
    }
    .context("print the report")?;
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
