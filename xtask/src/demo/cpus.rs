//! Where server and client run. Round trips between two CPUs pay for waking the other one up, those
//! on one CPU for the switch alone, so a scheduler that wavers between them hides the path's cost.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum Cpus {
    /// The scheduler decides
    Any,
    /// Both on one CPU
    One,
    /// One each
    Two,
}

impl Cpus {
    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::One => "one",
            Self::Two => "two",
        }
    }

    /// A command whose arguments will be the server and its arguments.
    pub fn server(self) -> Result<Command> {
        self.pinned(0)
    }

    /// The same for the client.
    pub fn client(self) -> Result<Command> {
        self.pinned(usize::from(self == Self::Two))
    }

    fn pinned(self, index: usize) -> Result<Command> {
        if self == Self::Any {
            return Ok(Command::new("env"));
        }
        let cpu = *allowed()?
            .get(index)
            .with_context(|| format!("--cpus {} needs one more CPU", self.name()))?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string()]);
        Ok(command)
    }
}

/// The CPUs that this process may use.
fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking for the CPUs of this process")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect())
}
