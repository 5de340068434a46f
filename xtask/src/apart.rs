//! The commands that are crates of their own below this one. Cargo builds and runs them when they are asked for, so that
//! `cargo xtask build`, on which everything else waits, compiles none of them.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Error, Result};
use clap::Args;
use test_support::command;
use xtask::workspace;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// Handed on
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub arguments: Vec<OsString>,
}

/// The command `name`, built first where it must be.
pub fn command(name: &str) -> Command {
    // In this folder, not in the workspace's root: paths among the arguments begin here.
    let mut cargo = Command::new("cargo");
    cargo
        .args(["run", "--release", "--manifest-path"])
        .arg(
            workspace::root()
                .join("xtask")
                .join(name)
                .join("Cargo.toml"),
        )
        .arg("--");
    cargo
}

/// Becomes the command: exit status, signals and terminal are its own.
pub fn become_it(name: &str, given: &Arguments) -> Result<()> {
    let mut it = command(name);
    let refused = it.args(&given.arguments).exec();
    Err(Error::new(refused).context(format!("starting `{}`", command::line(&it))))
}
