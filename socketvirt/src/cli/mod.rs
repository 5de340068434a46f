//! The command line: one file a command.

mod apply;
mod bench;
mod doctor;
mod drain;
mod ends;
mod events;
pub mod examples;
mod exec;
mod explain;
mod map;
mod pause;
mod policy;
mod run;
mod show;
mod status;
mod summary_file;
mod table;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use tracing::level_filters::LevelFilter;

use crate::log::{self, Format};

/// Virtualizes the sockets of a host.
#[derive(Debug, Parser)]
#[command(name = "socketvirt", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command whose connections within this host are accelerated
    Exec(exec::Args),
    /// Keep the table of the host, with the life of each socket
    Run(run::Args),
    /// Show what is accelerated, since when, and what is not and why
    Status(status::Args),
    /// Put all connections on plain TCP, until `resume`; the agent goes on
    Pause(pause::Args),
    /// Accelerate again after `pause`
    Resume(pause::Args),
    /// Put all connections on plain TCP, and take away what an agent has left
    Drain(drain::Args),
    /// Say what this kernel does to accelerated sockets, and what to do
    Doctor(doctor::Args),
    /// Show every socket of the host
    Table(table::Args),
    /// Show every field of a socket, and its peer
    Show(show::Args),
    /// Show what happens to sockets, as it happens
    Events(events::Args),
    /// Show the busiest connections, live: rates, path, and why not fast
    Top(top::Args),
    /// Show who talks to whom on this host, as a tree or a picture
    Map(map::Args),
    /// Put a policy in force, while connections live on
    Apply(apply::Args),
    /// Check a policy, show the one in force, and explain it
    Policy(policy::Args),
    /// Measure loopback TCP, the fast path and Unix sockets side by side
    Bench(crate::bench::Args),
    /// One side of a measurement
    #[command(hide = true)]
    BenchWorker(crate::bench::WorkerArgs),
}

/// The log of a command that works until it is told to stop.
#[derive(Clone, Copy, Debug, clap::Args)]
struct LogArgs {
    /// Tell no more than this: off, error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log::level)]
    log: LevelFilter,
    /// The form of what is told on standard error.
    #[arg(long, value_name = "FORM", value_enum, default_value = "text")]
    log_format: Format,
}

impl Command {
    /// Begins to print what is told.
    fn start_log(&self) {
        match self {
            Self::Exec(exec::Args { log, .. }) | Self::Run(run::Args { log, .. }) => {
                log::start(log.log, log.log_format);
            }
            _ => log::start(LevelFilter::INFO, Format::Text),
        }
    }
}

/// The commands, as clap has them: of this the man pages and completions are made, too.
#[must_use]
pub fn command() -> clap::Command {
    examples::add(Cli::command(), "")
}

/// Runs the command line and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = Cli::from_arg_matches(&command().get_matches());
    let command = parsed.unwrap_or_else(|error| error.exit()).command;
    command.start_log();
    let result = match command {
        Command::Exec(args) => exec::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Table(args) => table::run(args),
        Command::Events(args) => events::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::BenchWorker(args) => bench::worker(args),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
