//! `cargo xtask`: sets up a machine, builds, demonstrates, tests and measures socketvirt.
//!
//! One file a command. A command calls what it needs of the others (`demo` builds, `build` sets up),
//! and each step looks first whether its work is already done, so every command can be the first one.

mod bench;
mod build;
mod command;
mod compat;
mod demo;
mod progress;
mod setup;
mod soak;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Sets up, builds, demonstrates and tests socketvirt.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need; what is already there is skipped
    Setup,
    /// Build the release binary, after setup where something is missing
    Build,
    /// Run redis plain and accelerated, in turn, and show both results side by side
    Demo(demo::Options),
    /// Check format and lints, build the documentation, run all tests on the running kernel
    Test,
    /// Measure: loopback TCP, the fast path and a Unix socket, through `socketvirt bench`
    Bench(bench::Options),
    /// Run real programs and their test suites plain and accelerated; their results must be equal
    Compat(compat::Options),
    /// Run mixed traffic for an hour while agents are killed and the machine is pressed; each byte is checked
    Soak(soak::Options),
    /// Boot kernels that Debian offers with QEMU and show what works on each
    Vm(vm::Options),
    /// The checks inside such a machine; `vm` starts it there
    #[command(hide = true)]
    VmGuest,
    /// A client of the kernel's NFS server; such a check starts it
    #[command(hide = true)]
    VmNfs,
    /// One run of the demo's server and client; `demo` starts it, plain and below `socketvirt exec`
    #[command(hide = true)]
    DemoWorkload(demo::workload::Options),
}

fn main() -> ExitCode {
    match command::this().and_then(|_| run(Arguments::parse().command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::run(setup::Purpose::Test),
        Task::Build => build::run().map(drop),
        Task::Demo(options) => demo::run(&options),
        Task::Test => test::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Compat(options) => compat::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::VmGuest => vm::guest::run(),
        Task::VmNfs => vm::guest::ask(),
        Task::DemoWorkload(options) => demo::workload::run(&options),
    }
}
