//! `cargo xtask setup`: everything that building, testing and the demo need, on a machine that has
//! rustup and apt and nothing else. What is already there is left as it is.

mod components;
mod linker;
mod packages;
mod services;

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, ensure};
use nix::unistd::Uid;

pub use self::packages::Extra;
use crate::progress;

/// The purposes of a machine; each includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// Build the binary.
    Build,
    /// Build, then measure.
    Bench,
    /// Build, measure, then run the demo and the tests.
    Test,
    /// All of that, and boot other kernels.
    Vm,
}

/// Installs what is missing for `purpose`.
pub fn run(purpose: Purpose) -> Result<()> {
    let start = Instant::now();
    progress::step("setup: packages, compiler components, bpf-linker");
    packages::ensure(purpose)?;
    components::ensure()?;
    linker::ensure()?;
    progress::note(&format!("set up in {}", progress::elapsed(start.elapsed())));
    Ok(())
}

/// Installs what one command needs beside what setup installs.
pub fn run_extra(packages: &[Extra<'_>]) -> Result<()> {
    let unique: BTreeSet<_> = packages.iter().copied().collect();
    if unique.is_empty() {
        return Ok(());
    }
    progress::step("setup: packages of this command alone");
    packages::ensure_all(&unique.into_iter().collect::<Vec<_>>())
}

/// Fails before any long step when `what` could not be done at its end.
pub fn require_root(what: &str) -> Result<()> {
    ensure!(
        Uid::effective().is_root(),
        "{what} needs root: run `sudo -E env \"PATH=$PATH\" cargo xtask ...`, or a root shell"
    );
    Ok(())
}
