//! `cargo xtask bench`: `socketvirt bench` of a fresh release build.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Error, Result};

use test_support::command;
use xtask::{
    build, progress,
    setup::{self, Purpose},
};

use crate::apart::Arguments;

pub fn run(options: &Arguments) -> Result<()> {
    setup::run(Purpose::Bench)?;
    let binary = build::release()?;
    let mut bench = Command::new(binary);
    bench.arg("bench").args(&options.arguments);
    progress::step(&format!("bench: {}", command::line(&bench)));
    // Exit status, signals and terminal are the bench's own.
    let refused = bench.exec();
    Err(Error::new(refused).context(format!("starting `{}`", command::line(&bench))))
}
