//! `socketvirt exec`: runs a command whose connections within this host are
//! accelerated.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use socketvirt_common::record::config::Mode;

use super::summary_file::SummaryFile;
use crate::{
    child::{Child, Event, Signals, manager},
    kernel::capabilities,
    output,
    session::{
        run::{Finished, Options, Run},
        scope::Scope,
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

/// Arguments of `socketvirt exec`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// When connections are accelerated.
    #[arg(long, value_enum, default_value = "adopt")]
    mode: ModeName,
    /// Also write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Milliseconds from one look at connections that may change to the next, at
    /// least; all looks take at most 1% of one CPU whatever this says.
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_interval: u64,
    /// Do not print the summary.
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What an operator of eager mode has to know.
pub(super) const EAGER: &str = "eager mode enrols blocking sockets too, whose calls the kernel can end early (EAGAIN, a short \
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
        interval: Duration::from_millis(args.scan_interval),
    };
    // Before anything of our own is open.
    let notices = manager::notices();
    let run = Run::start(&options)?;
    if !args.quiet {
        if options.mode == Mode::Eager {
            tell!("{EAGER}");
        }
        for notice in notices {
            tell!("{notice}");
        }
        tell_shortcomings();
    }
    let (command, rest) = args.command.split_first().context("no command was given")?;
    let mut child = match Child::spawn(signals, command, rest, &run.cgroup_procs()) {
        Ok(child) => child,
        Err(error) => {
            let status = error.status();
            tell!("{error}");
            save(&run.finish(), summary);
            status.finish()
        }
    };
    let status = loop {
        match child.wait_event(None) {
            Ok(Event::Exited(status)) => break status,
            Ok(Event::Timeout) => {}
            Err(error) => {
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
        output::tell(format_args!("{}", finished.summary));
        for warning in &finished.warnings {
            tell!("{warning}");
        }
    }
    status.finish()
}

/// What will not be accelerated, or not be looked at, for want of a capability.
pub(super) fn tell_shortcomings() {
    for missing in capabilities::shortcomings() {
        tell!("{}", missing.words);
    }
}

/// Writes the summary, and tells what did not end as it should.
fn save(finished: &Finished, file: Option<SummaryFile>) {
    if let Some(file) = file
        && let Err(error) = file.write(&finished.summary)
    {
        tell!("{error:#}");
    }
    if let Some(error) = &finished.failure {
        tell!("{error}");
    }
}
