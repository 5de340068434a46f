//! `cargo xtask test`: everything that must hold before a change is merged, the cheap checks first.

mod lanes;
mod programs;

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Result, anyhow};
use test_support::command;
use xtask::{
    build, progress,
    setup::{self, Purpose},
    workspace,
};

use self::programs::Program;
use crate::apart;

/// The BPF crate builds for another target, and has no tests: its rules are in socketvirt-common.
const WITHOUT_BPF: [&str; 3] = ["--workspace", "--exclude", "socketvirt-ebpf"];

/// The one profile of all steps, so that nothing is compiled twice.
const PROFILE: &str = "--release";

#[cfg(target_endian = "little")]
const BPF_TARGET: &str = "bpfel-unknown-none";
#[cfg(target_endian = "big")]
const BPF_TARGET: &str = "bpfeb-unknown-none";

/// Minutes for which agents are killed under traffic in every run.
const SOAK_MINUTES: &str = "2";

pub fn run() -> Result<()> {
    let start = Instant::now();
    setup::require_root("the integration tests load BPF programs and make namespaces, which")?;
    setup::run(Purpose::Test)?;

    let mut passed = Vec::new();
    let mut pass = |name: &str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let start = Instant::now();
        progress::step(&format!("test: {name}"));
        work().map_err(|error| anyhow!("{name}: {error:#}"))?;
        let duration = progress::elapsed(start.elapsed());
        passed.push(format!("{name} {duration}"));
        Ok(())
    };
    pass("format", &mut || shown(&mut format()))?;
    pass("clippy", &mut || shown(&mut clippy()))?;
    pass("clippy for BPF", &mut || shown(&mut clippy_bpf()?))?;
    pass("documentation", &mut || shown(&mut documentation()))?;
    let mut programs = Vec::new();
    pass("building tests", &mut || {
        programs = programs::build()?;
        Ok(())
    })?;
    // Of the same build: one of the default packages alone would compile a third of the dependencies again.
    let binary = build::built()?;
    let (integration, unit): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(Program::is_integration);
    pass("unit and property tests", &mut || {
        unit.iter()
            .try_for_each(|program| shown(&mut program.command()))?;
        shown(programs::cargo_test().arg("--doc"))
    })?;
    pass("integration tests", &mut || {
        lanes::run(&integration, &binary)
    })?;
    pass("programs", &mut || shown(&mut compat(&binary)))?;
    pass("soak", &mut || shown(&mut soak(&binary)))?;

    let all = progress::elapsed(start.elapsed());
    println!("passed in {all}: {}", passed.join(", "));
    Ok(())
}

/// Runs a program whose command line is shown.
fn shown(command: &mut Command) -> Result<()> {
    progress::note(&command::line(command));
    command::run(command)
}

fn format() -> Command {
    let mut command = workspace::cargo();
    command.args(["fmt", "--all", "--check"]);
    command
}

fn clippy() -> Command {
    let mut command = workspace::cargo();
    command
        .args(["clippy", PROFILE])
        .args(WITHOUT_BPF)
        .args(["--all-targets", "--", "-Dwarnings"]);
    command
}

/// The BPF crate as it is built: without an operating system, with a `core` of its own.
fn clippy_bpf() -> Result<Command> {
    let mut command = workspace::cargo();
    command
        .args(["clippy", PROFILE, "--package", "socketvirt-ebpf"])
        .args(["-Zbuild-std=core", "--target", BPF_TARGET])
        // That of the programs' build: build scripts are built anew whenever RUSTC_BOOTSTRAP changes.
        .arg("--target-dir")
        .arg(workspace::target_dir()?.join("bpf"))
        .args(["--", "-Dwarnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

fn documentation() -> Command {
    let mut command = workspace::cargo();
    command
        .args(["doc", PROFILE])
        .args(WITHOUT_BPF)
        .arg("--no-deps")
        .env("RUSTDOCFLAGS", "-Dwarnings");
    command
}

/// A few of the programs that `cargo xtask compat` runs all of.
fn compat(binary: &Path) -> Command {
    let mut command = apart::command("compat");
    command.args(["--short", "--binary"]).arg(binary);
    command
}

/// The short form of what `cargo xtask soak` does for an hour, always with the same seed: another one is for that hour.
fn soak(binary: &Path) -> Command {
    let mut command = apart::command("soak");
    command
        .args(["--minutes", SOAK_MINUTES, "--seed", "1", "--binary"])
        .arg(binary);
    command
}
