//! `cargo xtask bench`: `socketvirt bench` of a fresh release build.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Error, Result};
use clap::Args;

use crate::{
    build, command, progress,
    setup::{self, Purpose},
};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Handed to `socketvirt bench`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    arguments: Vec<OsString>,
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(Purpose::Bench)?;
    let binary = build::release()?;
    let mut bench = Command::new(binary);
    bench.arg("bench").args(&options.arguments);
    progress::step(&format!("bench: {}", command::line(&bench)));
    // Exit status, signals and terminal are the bench's own.
    let refused = bench.exec();
    Err(Error::new(refused).context(format!("starting `{}`", command::line(&bench))))
}
