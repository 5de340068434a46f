//! `socketvirt exec`: runs a command whose connections within this host are
//! accelerated.

use std::{ffi::OsString, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use socketvirt_common::config::Mode;

use crate::{
    agent::{
        run::{Options, Run},
        scope::Scope,
    },
    child::{Child, Event, Signals},
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
    if let Some(file) = &args.summary {
        // Before the command runs: its work must not be lost to a bad path.
        fs::File::create(file)
            .with_context(|| format!("creating the summary {} failed", file.display()))?;
    }
    let options = Options {
        scope: Scope::Own,
        mode: args.mode.into(),
        interval: Duration::from_millis(args.scan_interval),
    };
    let run = Run::start(&options)?;
    if options.mode == Mode::Eager && !args.quiet {
        eprintln!("socketvirt: {EAGER}");
    }
    let (command, rest) = args.command.split_first().context("no command was given")?;
    let mut child = match Child::spawn(signals, command, rest, &run.cgroup_procs()) {
        Ok(child) => child,
        Err(error) => {
            let status = error.status();
            eprintln!("socketvirt: {error}");
            if let Err(error) = run.finish() {
                eprintln!("socketvirt: {error}");
            }
            status.finish()
        }
    };
    let status = loop {
        match child.wait_event(None) {
            Ok(Event::Exited(status)) => break status,
            Ok(Event::Timeout) => {}
            Err(error) => {
                // The command goes on, as plain TCP.
                if let Err(error) = run.finish() {
                    eprintln!("socketvirt: {error}");
                }
                return Err(error.into());
            }
        }
    };
    match run.finish() {
        Ok(finished) => {
            if !args.quiet {
                eprint!("{}", finished.summary);
                for warning in &finished.warnings {
                    eprintln!("socketvirt: {warning}");
                }
            }
            if let Some(file) = &args.summary {
                let json = serde_json::to_string_pretty(&finished.summary)
                    .context("putting the summary into JSON failed")?;
                // The command's status counts more than a full disk.
                if let Err(error) = fs::write(file, json + "\n") {
                    eprintln!(
                        "socketvirt: writing the summary {} failed: {error}",
                        file.display()
                    );
                }
            }
        }
        Err(error) => eprintln!("socketvirt: {error}"),
    }
    status.finish()
}
