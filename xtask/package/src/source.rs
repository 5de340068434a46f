//! The commit that packages are made of: its time is the time of everything in them.

use std::{env, process::Command};

use anyhow::{Context as _, Result};
use test_support::command;
use xtask::workspace;

/// Set by whoever repeats a build (<https://reproducible-builds.org/specs/source-date-epoch/>).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The commit.
#[derive(Clone, Debug)]
pub struct Source {
    /// Seconds since 1970.
    pub time: u64,
}

impl Source {
    /// That of the work tree, unless `SOURCE_DATE_EPOCH` says another time.
    pub fn of_commit() -> Result<Self> {
        let told = match env::var(EPOCH) {
            Ok(told) => told,
            Err(_) => command::output(
                Command::new("git")
                    .args(["log", "-1", "--format=%ct"])
                    .current_dir(workspace::root()),
            )
            .with_context(|| format!("the time of the commit is not known; set {EPOCH}"))?,
        };
        let time = told
            .trim()
            .parse()
            .with_context(|| format!("{EPOCH} is no number of seconds: {told}"))?;
        Ok(Self { time })
    }

    /// The time as Debian's changelogs have it.
    pub fn date(&self) -> Result<String> {
        let time = format!("@{}", self.time);
        let date = command::output(Command::new("date").args(["--utc", "-R", "-d", &time]))?;
        Ok(date.trim().to_owned())
    }

    /// A command that puts this time into what it makes.
    pub fn command(&self, mut command: Command) -> Command {
        command.env(EPOCH, self.time.to_string());
        command
    }
}
