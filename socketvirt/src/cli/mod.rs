//! The command line: one file a command.

mod bench;
mod doctor;
mod ends;
mod events;
mod exec;
mod run;
mod show;
mod summary_file;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::tell;

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
    /// Say what this kernel does to accelerated sockets, and what to do
    Doctor(doctor::Args),
    /// Show every socket of the host
    Table(table::Args),
    /// Show every field of a socket, and its peer
    Show(show::Args),
    /// Show what happens to sockets, as it happens
    Events(events::Args),
    /// Measure loopback TCP, the fast path and Unix sockets side by side
    Bench(crate::bench::Args),
    /// One side of a measurement
    #[command(hide = true)]
    BenchWorker(crate::bench::WorkerArgs),
}

/// Runs the command line and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Exec(args) => exec::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Table(args) => table::run(args),
        Command::Events(args) => events::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::BenchWorker(args) => bench::worker(args),
    };
    result.unwrap_or_else(|error| {
        tell!("{error:#}");
        ExitCode::FAILURE
    })
}
