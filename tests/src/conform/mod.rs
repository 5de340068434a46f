//! Conformance: a scenario of socket calls answers the same on plain TCP,
//! enrolled at the handshake, adopted in mid-life, and released again.
//!
//! ```text
//! suite ----+                  +-- plain -----+
//!           +--> scenarios ----+-- eager -----+--> transcripts --> equal, or
//! generate -+    (text)        +-- adopted ---+                    excused by name
//!                              +-- released --+
//! ```
//!
//! A scenario is data ([`step`]) and has a text form, so that a failing one is
//! played again by `workload scenario '<text>'`.

mod bulk;
pub mod compare;
mod connect;
pub mod excuses;
pub mod generate;
pub mod isolate;
mod pass;
mod perform;
mod play;
pub mod reach;
pub mod shrink;
pub mod step;
pub mod suite;
mod sys;
mod text;
mod uring;
mod wire;
mod worker;

use std::fs;

use anyhow::{Context as _, Result, ensure};

use self::{isolate::play_all, reach::State, step::Scenario};

/// The scenarios to play.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Steps, separated by semicolons.
    text: Vec<String>,
    /// A file with a scenario a line.
    #[arg(long)]
    file: Option<std::path::PathBuf>,
    /// The state to bring the connections into. All but plain need
    /// `socketvirt exec`.
    #[arg(long, value_enum, default_value = "plain")]
    state: State,
    /// Scenarios at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The program whose table says why a connection was kept on the stack.
    #[arg(long)]
    table: Option<String>,
    /// A line of JSON for each scenario.
    #[arg(long)]
    json: bool,
}

/// Plays the scenarios of a command line.
///
/// # Errors
/// When a scenario cannot be read or a process cannot be made.
pub fn run(args: &Args) -> Result<()> {
    let mut texts = args.text.clone();
    if let Some(file) = &args.file {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        texts.extend(text.lines().map(str::to_owned));
    }
    ensure!(!texts.is_empty(), "no scenario");
    let scenarios = texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Scenario>>>()?;
    let reports = play_all(&scenarios, args.state, args.table.as_deref(), args.jobs)?;
    for (scenario, report) in scenarios.iter().zip(reports) {
        if args.json {
            println!("{}", report.to_json());
            continue;
        }
        println!("{scenario}");
        for line in &report.transcript {
            println!("  {line}");
        }
        match (report.error, report.kept_off) {
            (Some(error), _) => println!("  error: {error}"),
            (None, Some(reason)) => println!("  kept off: {reason}"),
            (None, None) => println!("  {} bytes redirected", report.fast),
        }
    }
    Ok(())
}
