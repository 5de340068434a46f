//! Where the tree and its build products are.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use test_support::command;

/// The workspace's root.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo of the pinned toolchain, run in the workspace's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    cargo
}

/// The target directory; `CARGO_TARGET_DIR` and cargo's configuration may move it.
pub fn target_dir() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }

    let json = command::output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("reading the answer of `cargo metadata`")?;
    Ok(metadata.target_directory)
}

/// The release binary.
pub fn binary() -> Result<PathBuf> {
    Ok(target_dir()?.join("release").join("socketvirt"))
}
