//! `socketvirt exec`: runs a command whose connections within this host are
//! accelerated.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use socketvirt_common::record::config::Mode;
use tracing::{error, info, warn};

use super::{LogArgs, summary_file::SummaryFile};
use crate::{
    child::{Child, Event, Signals, manager},
    kernel::capabilities,
    policy::value::assume::Assumption,
    session::{
        effective::Effective,
        run::{Finished, Options, Run},
        scope::Scope,
        summary::Summary,
    },
    tell,
};

/// When sockets are enrolled.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ModeName {
    /// In mid-life, once a connection has proved suitable: the default.
    Adopt,
    /// At the handshake, without proof; for programs that were vetted.
    Eager,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Adopt => Self::Adopt,
            ModeName::Eager => Self::Eager,
        }
    }
}

/// The help of `--scan-interval`, which means the same in `run`.
pub(super) const SCAN_INTERVAL: &str = "Milliseconds from one look at connections that may change to the next, at least; all looks \
     take at most 1% of one CPU whatever this says";

/// Arguments of `socketvirt exec`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// When connections are accelerated.
    #[arg(long, value_enum, default_value = "adopt")]
    mode: ModeName,
    /// What you vouch for of the programs of the command: `no-splice`, they do not call
    /// splice(2) on sockets that they read.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    assume: Vec<Assumption>,
    /// Also write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    #[arg(long, value_name = "MS", help = SCAN_INTERVAL, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_interval: u64,
    #[command(flatten)]
    pub(super) log: LogArgs,
    /// Do not print the summary.
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The words for a thread that has ended without an error.
pub(super) const NO_ERROR: &str = "one of its threads has ended by itself";

/// The warning for an operator of eager mode.
const EAGER: &str = "eager mode enrols blocking sockets too, whose calls the kernel can end early (EAGAIN, a short \
                     MSG_WAITALL), and cannot let them go for splice(2), urgent data, SO_RCVLOWAT, SO_ZEROCOPY and the like: \
                     only for programs that you have vetted, see docs/compatibility.md";

/// Runs the command and ends as it ended.
pub fn run(args: &Args) -> Result<ExitCode> {
    // Before any thread is started, so that no signal is lost to one.
    let signals = Signals::block()?;
    // Before the command runs: its work must not be lost to a bad path.
    let summary = args
        .summary
        .as_deref()
        .map(SummaryFile::create)
        .transpose()?;
    let options = Options {
        scope: Scope::Own,
        mode: args.mode.into(),
        policy: None,
        assume: args.assume.iter().fold(0, |all, one| all | one.bit()),
        interval: Duration::from_millis(args.scan_interval),
    };
    // Before anything of our own is open.
    let notices = manager::notices();
    let mut run = Run::start(&options)?;
    if !args.quiet {
        for notice in notices {
            tell!("{notice}");
        }
        tell_start(run.effective());
    }
    let (command, rest) = args.command.split_first().context("no command was given")?;
    let procs = run.cgroup_procs().unwrap_or_default();
    let mut child = match Child::spawn(signals, command, rest, &procs) {
        Ok(child) => child,
        Err(error) => {
            let status = error.status();
            error!("{error}");
            save(&run.finish(), summary);
            status.finish()
        }
    };
    let status = loop {
        let ends = run.ends();
        match child.wait_beside(None, &ends) {
            Ok(Event::Exited(status)) => break status,
            Ok(Event::Timeout) => {}
            // A thread has ended, which none does by itself.
            Ok(Event::Other) => {
                drop(ends);
                let failure = run.detach().failure.take();
                let error = failure.map_or_else(|| NO_ERROR.into(), |error| error.to_string());
                error!(
                    "nothing is accelerated any more, the command goes on as plain TCP: {error}"
                );
            }
            Err(error) => {
                drop(ends);
                // The command goes on, as plain TCP.
                save(&run.finish(), summary);
                return Err(error.into());
            }
        }
    };
    let finished = run.finish();
    // First: a terminal may keep us waiting, or be gone.
    save(&finished, summary);
    if !args.quiet {
        tell_summary(&finished.summary);
        if let Some(left) = finished.left {
            warn!("{left}");
        }
    }
    status.finish()
}

/// Tells what is on, and each reason why it is less than was asked for.
pub(super) fn tell_start(effective: &Effective) {
    tell_shortcomings();
    for reason in &effective.degraded {
        warn!("{reason}");
    }
    if effective.mode == Mode::Eager {
        warn!("{EAGER}");
    }
    // Last: who waits for the agent waits for this line.
    tell!("{effective}");
}

/// Tells what will not be accelerated, or not be inspected, for want of a capability.
fn tell_shortcomings() {
    for missing in capabilities::shortcomings() {
        warn!("{}", missing.words);
    }
}

/// Tells the summary. As JSON it is a field of its event.
pub(super) fn tell_summary(summary: &Summary) {
    let json = serde_json::to_string(summary).unwrap_or_default();
    let text = summary.to_string();
    // The name of the program stands before each event.
    let text = text.trim_start_matches("socketvirt: ").trim_end();
    info!(summary = %json, "{text}");
}

/// Writes the summary, and tells what did not end as it should.
fn save(finished: &Finished, file: Option<SummaryFile>) {
    if let Some(file) = file
        && let Err(error) = file.write(&finished.summary)
    {
        error!("{error:#}");
    }
    if let Some(error) = &finished.failure {
        error!("{error}");
    }
}
