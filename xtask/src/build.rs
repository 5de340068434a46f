//! `cargo xtask build`: the release binary, with the BPF object embedded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use test_support::command;

use crate::{
    progress,
    setup::{self, Purpose},
    workspace,
};

/// Sets up what building needs, builds, and says where the binary is.
pub fn run() -> Result<PathBuf> {
    setup::run(Purpose::Build)?;
    release()
}

/// The binary that was given, as an absolute path, for which nothing is set up
/// or built; otherwise one built on a machine that can run all tests.
pub fn given_or_built(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = given {
        return fs::canonicalize(binary).with_context(|| format!("finding {}", binary.display()));
    }
    setup::run(Purpose::Test)?;
    release()
}

/// Builds on a machine that is set up.
pub fn release() -> Result<PathBuf> {
    progress::step("build: release build of the workspace, the BPF object embedded");
    command::run(workspace::cargo().args(["build", "--release"]))?;
    let binary = built()?;
    progress::note(&format!("the binary is {}", binary.display()));
    Ok(binary)
}

/// The binary that a build has left.
pub fn built() -> Result<PathBuf> {
    let binary = workspace::binary()?;
    ensure!(
        binary.is_file(),
        "the build left no binary at {}",
        binary.display()
    );
    Ok(binary)
}
