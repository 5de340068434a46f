//! `cargo xtask test`: everything that must hold before a change is merged, the cheap checks first.

use std::{
    env,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build, command, progress,
    setup::{self, Purpose},
    workspace,
};

/// The BPF crate builds for another target, and has no tests: its rules are in socketvirt-common.
const WITHOUT_BPF: [&str; 3] = ["--workspace", "--exclude", "socketvirt-ebpf"];

/// Its tests need root and the kernel; they run as a step of their own.
const WITHOUT_INTEGRATION: [&str; 2] = ["--exclude", "socketvirt-tests"];

#[cfg(target_endian = "little")]
const BPF_TARGET: &str = "bpfel-unknown-none";
#[cfg(target_endian = "big")]
const BPF_TARGET: &str = "bpfeb-unknown-none";

/// How long agents are killed under traffic in every run.
const SOAK_MINUTES: &str = "2";

struct Step {
    name: &'static str,
    command: Command,
}

pub fn run() -> Result<()> {
    let start = Instant::now();
    setup::require_root("the integration tests load BPF programs and make namespaces, which")?;
    setup::run(Purpose::Test)?;

    let mut passed = Vec::new();
    let mut pass = |mut step: Step| -> Result<()> {
        let duration = progress::elapsed(step.run()?);
        passed.push(format!("{} {duration}", step.name));
        Ok(())
    };
    pass(format())?;
    let binary = build::release()?;
    pass(clippy())?;
    pass(clippy_bpf()?)?;
    pass(documentation())?;
    pass(unit())?;
    pass(integration(&binary))?;
    pass(programs(&binary)?)?;
    pass(soak(&binary)?)?;

    let all = progress::elapsed(start.elapsed());
    println!("passed in {all}: {}", passed.join(", "));
    Ok(())
}

impl Step {
    fn run(&mut self) -> Result<Duration> {
        let start = Instant::now();
        progress::step(&format!("test: {}", self.name));
        progress::note(&command::line(&self.command));
        if let Err(error) = command::run(&mut self.command) {
            bail!("{}: {error:#}", self.name);
        }
        Ok(start.elapsed())
    }
}

fn format() -> Step {
    let mut command = workspace::cargo();
    command.args(["fmt", "--all", "--check"]);
    Step {
        name: "format",
        command,
    }
}

fn clippy() -> Step {
    let mut command = workspace::cargo();
    command
        .arg("clippy")
        .args(WITHOUT_BPF)
        .args(["--all-targets", "--", "-Dwarnings"]);
    Step {
        name: "clippy",
        command,
    }
}

/// The BPF crate as it is built: without an operating system, with a `core` of its own.
fn clippy_bpf() -> Result<Step> {
    let mut command = workspace::cargo();
    command
        .args(["clippy", "--package", "socketvirt-ebpf"])
        .args(["-Zbuild-std=core", "--target", BPF_TARGET])
        // A directory of its own: build scripts are built anew whenever RUSTC_BOOTSTRAP changes.
        .arg("--target-dir")
        .arg(workspace::target_dir()?.join("bpf"))
        .args(["--", "-Dwarnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(Step {
        name: "clippy for BPF",
        command,
    })
}

fn documentation() -> Step {
    let mut command = workspace::cargo();
    command
        .arg("doc")
        .args(WITHOUT_BPF)
        .arg("--no-deps")
        .env("RUSTDOCFLAGS", "-Dwarnings");
    Step {
        name: "documentation",
        command,
    }
}

/// Unoptimised on purpose: arithmetic that overflows is caught.
fn unit() -> Step {
    let mut command = workspace::cargo();
    command
        .arg("test")
        .args(WITHOUT_BPF)
        .args(WITHOUT_INTEGRATION);
    Step {
        name: "unit and property tests",
        command,
    }
}

/// One at a time: they measure the whole machine's sockets, cgroups and BPF objects.
fn integration(binary: &Path) -> Step {
    let mut command = workspace::cargo();
    command
        .args(["test", "--release", "--package", "socketvirt-tests"])
        .args(["--no-fail-fast", "--", "--test-threads=1"])
        .env("SOCKETVIRT_BIN", binary);
    Step {
        name: "integration tests",
        command,
    }
}

/// A few of the programs that `cargo xtask compat` runs all of.
fn programs(binary: &Path) -> Result<Step> {
    let this = env::current_exe().context("finding this program")?;
    let mut command = Command::new(this);
    command.args(["compat", "--short", "--binary"]).arg(binary);
    Ok(Step {
        name: "programs",
        command,
    })
}

/// The short form of what `cargo xtask soak` does for an hour, always with the same seed: another one is for that hour.
fn soak(binary: &Path) -> Result<Step> {
    let this = env::current_exe().context("finding this program")?;
    let mut command = Command::new(this);
    command
        .args(["soak", "--minutes", SOAK_MINUTES, "--seed", "1", "--binary"])
        .arg(binary);
    Ok(Step {
        name: "soak",
        command,
    })
}
