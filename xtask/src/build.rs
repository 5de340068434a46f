//! `cargo xtask build`: the release binary, with the BPF object embedded.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{
    command, progress,
    setup::{self, Purpose},
    workspace,
};

/// Sets up what building needs, builds, and says where the binary is.
pub fn run() -> Result<PathBuf> {
    setup::run(Purpose::Build)?;
    release()
}

/// Builds on a machine that is set up.
pub fn release() -> Result<PathBuf> {
    progress::step("build: release build of the workspace, the BPF object embedded");
    command::run(workspace::cargo().args(["build", "--release"]))?;
    let binary = workspace::binary()?;
    ensure!(
        binary.is_file(),
        "the build left no binary at {}",
        binary.display()
    );
    progress::note(&format!("the binary is {}", binary.display()));
    Ok(binary)
}
