//! `socketvirt run`: the agent of a host. It keeps the table and, when asked
//! to, accelerates.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;

use super::{
    ends,
    exec::{EAGER, ModeName, tell_shortcomings},
};
use crate::{
    output,
    session::{
        run::{self, Run},
        scope::Scope,
    },
    table::keeper::{Keeper, Options},
    tell,
};

/// Arguments of `socketvirt run`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Also accelerate connections within the host; without, nothing but the
    /// table is kept.
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// Accelerate those of this cgroup and the ones below it alone.
    #[arg(long, value_name = "PATH", requires = "mode")]
    cgroup: Option<PathBuf>,
    /// Rows at most; each takes about 1 KB of kernel memory, from the start.
    #[arg(long, value_name = "ROWS", default_value_t = Options::default().rows, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Milliseconds from one scan of the table to the next, at least; scans
    /// take at most 1% of one CPU whatever this says.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_interval: u64,
}

/// From one look at connections that may change to the next, as in `exec`.
const ADOPTING: Duration = Duration::from_millis(10);

/// Works until SIGINT or SIGTERM.
pub fn run(args: &Args) -> Result<ExitCode> {
    let signals = ends::signals()?;
    let keeper = Keeper::start(&Options {
        rows: args.rows,
        interval: Duration::from_millis(args.scan_interval),
    })?;
    tell!("keeping the table at /sys/fs/bpf/socketvirt, until SIGINT or SIGTERM");
    let accelerating = match args.mode {
        Some(mode) => Some(Run::start(&run::Options {
            scope: args.cgroup.clone().map_or(Scope::Host, Scope::Cgroup),
            mode: mode.into(),
            interval: ADOPTING,
        })?),
        None => None,
    };
    if args.mode.is_some() {
        tell_shortcomings();
    }
    match args.mode {
        Some(ModeName::Eager) => tell!("accelerating; {EAGER}"),
        Some(ModeName::Adopt) => tell!("accelerating"),
        None => {}
    }
    signals
        .read_signal()
        .context("waiting for a signal failed")?;
    // First, so that the table and who follows it see what is released.
    if let Some(accelerating) = accelerating {
        let finished = accelerating.finish();
        output::tell(format_args!("{}", finished.summary));
        for warning in &finished.warnings {
            tell!("{warning}");
        }
        if let Some(error) = finished.failure {
            return Err(error.into());
        }
    }
    if !keeper.is_scanning() {
        keeper.finish()?;
        bail!("the scans had ended");
    }
    let stats = keeper.finish()?;
    tell!(
        "{} sockets found no room, {} closed ones made room, {} events were lost",
        stats.missing,
        stats.evicted,
        stats.lost
    );
    Ok(ExitCode::SUCCESS)
}
