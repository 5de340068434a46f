//! `cargo xtask demo`: redis and its benchmark, plain and below `socketvirt exec`, in turn.
//!
//! Both sides run the same unchanged programs; only the command in front differs. The order changes
//! with each round, so that a machine that slows down or warms up favours neither side.

mod benchmark;
mod cpus;
pub mod leftovers;
mod redis;
mod report;
pub mod summary;
pub mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{cpus::Cpus, leftovers::Traces, report::Report, summary::Summary, workload::Outcome};
use crate::{build, command, progress, setup};

#[derive(Args)]
pub struct Options {
    /// Rounds; each runs both sides once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests of each redis command in each run
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Where server and client run
    #[arg(long, value_enum, default_value_t = Cpus::Any)]
    cpus: Cpus,
    /// Use this binary; nothing is set up or built
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Begins the summary that `socketvirt exec` prints.
const SUMMARY: &str = "socketvirt: mode ";

/// The two sides of the comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Plain,
    Accelerated,
}

pub fn run(options: &Options) -> Result<()> {
    setup::require_root("the demo loads BPF programs, which")?;
    let binary = build::given_or_built(options.binary.as_deref())?;

    let before = Traces::take()?;
    let report = measure(&binary, options)?;
    progress::step("demo: looking for anything left behind");
    let report = report.with_leftovers(before.new_since()?);
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text(progress::Style::stdout()));
    }
    report.verdict()
}

fn measure(binary: &Path, options: &Options) -> Result<Report> {
    let directory = tempfile::tempdir().context("creating a temporary directory")?;
    let mut report = Report::default();
    progress::step(&format!(
        "demo: redis-server and redis-benchmark (1 client, {} requests of each command), {} rounds",
        options.requests, options.rounds
    ));
    for round in 1..=options.rounds {
        let order = if round % 2 == 1 {
            [Side::Plain, Side::Accelerated]
        } else {
            [Side::Accelerated, Side::Plain]
        };
        for side in order {
            let start = Instant::now();
            let (outcome, summary) = once(side, binary, options, directory.path())?;
            progress::note(&format!(
                "round {round}/{}, {:<12} {} ({})",
                options.rounds,
                side.name(),
                outcome.line(),
                progress::elapsed(start.elapsed())
            ));
            report.add(outcome, summary);
        }
    }
    Ok(report)
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain:",
            Self::Accelerated => "accelerated:",
        }
    }
}

/// Runs server and client once; the accelerated side brings the summary of `socketvirt exec`.
fn once(
    side: Side,
    binary: &Path,
    options: &Options,
    directory: &Path,
) -> Result<(Outcome, Option<Summary>)> {
    let this = command::this()?;
    let outcome = directory.join("outcome.json");
    let summary = directory.join("summary.json");
    let mut run = match side {
        Side::Plain => Command::new(this),
        Side::Accelerated => {
            let mut exec = Command::new(binary);
            exec.args(["exec", "--summary"])
                .arg(&summary)
                .arg("--")
                .arg(this);
            exec
        }
    };
    run.arg("demo-workload")
        .args(["--requests", &options.requests.to_string()])
        .args(["--cpus", options.cpus.name()])
        .arg("--outcome")
        .arg(&outcome);
    let output = command::capture(&mut run)?;
    // The summary that `exec` prints is in the report; its warnings are not.
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .filter(|line| line.starts_with("socketvirt: ") && !line.starts_with(SUMMARY))
        .for_each(progress::note);

    let outcome = read(&outcome)?;
    let summary = match side {
        Side::Plain => None,
        Side::Accelerated => Some(read(&summary).with_context(|| said.trim_end().to_owned())?),
    };
    Ok((outcome, summary))
}

/// Reads a file of this run, and removes it so that the next run cannot read it again.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!(
            "understanding {}: {}",
            path.display(),
            String::from_utf8_lossy(&text)
        )
    })
}
