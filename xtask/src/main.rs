//! `cargo xtask`: sets up a machine, builds, demonstrates, tests and measures socketvirt.
//!
//! One file a command; the larger ones are crates of their own in the folders below. A command calls what it needs of the others (`demo` builds, `build` sets up),
//! and each step looks first whether its work is already done, so every command can be the first one.

mod apart;
mod bench;
mod demo;
mod docs;
mod fuzz;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{build, progress, setup};

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
    /// Run redis and nginx plain and accelerated in turn, between containers and on loopback, and compare
    Demo(demo::Options),
    /// Check format and lints, build the documentation, run all tests on the running kernel
    Test,
    /// Write the lists that the code holds into the pages of docs/
    Docs,
    /// Make hostile input for the reader of policies and of pinned maps, for a time
    Fuzz(fuzz::Options),
    /// Measure: loopback TCP, the fast path and a Unix socket, through `socketvirt bench`
    Bench(apart::Arguments),
    /// Run real programs and their test suites plain and accelerated; their results must be equal
    Compat(apart::Arguments),
    /// Run real deployments plain and accelerated: how much of each takes the fast path, and what keeps the rest off
    Reach(apart::Arguments),
    /// Run mixed traffic for an hour while agents are killed and the machine is pressed; each byte is checked
    Soak(apart::Arguments),
    /// Make a .deb, a .rpm and an OCI image, with man pages and completions, in target/package
    Package(apart::Arguments),
    /// Boot kernels that Debian offers with QEMU and show what works on each
    Vm(apart::Arguments),
}

fn main() -> ExitCode {
    progress::ended(run(Arguments::parse().command))
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::run(setup::Purpose::Test),
        Task::Build => build::run().map(drop),
        Task::Demo(options) => demo::run(&options),
        Task::Test => test::run(),
        Task::Docs => docs::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Compat(given) => apart::become_it("compat", &given),
        Task::Reach(given) => apart::become_it("reach", &given),
        Task::Soak(given) => apart::become_it("soak", &given),
        Task::Package(given) => apart::become_it("package", &given),
        Task::Vm(given) => apart::become_it("vm", &given),
    }
}
