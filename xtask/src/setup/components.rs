//! Components of the pinned toolchain that its minimal profile leaves out.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{progress, workspace};
use test_support::command;

struct Component {
    name: &'static str,
    /// Below the toolchain's root.
    path: &'static str,
    reason: &'static str,
}

const COMPONENTS: [Component; 3] = [
    Component {
        name: "clippy",
        path: "bin/cargo-clippy",
        reason: "lints",
    },
    Component {
        name: "rust-src",
        path: "lib/rustlib/src/rust/library/core",
        reason: "builds `core` for BPF, which no toolchain ships",
    },
    Component {
        name: "rustfmt",
        path: "bin/cargo-fmt",
        reason: "format",
    },
];

/// Adds the components that are missing.
pub fn ensure() -> Result<()> {
    let toolchain = toolchain()?;
    let missing = missing(&toolchain);
    if missing.is_empty() {
        let names = COMPONENTS.map(|component| component.name).join(", ");
        progress::note(&format!("compiler components: {names} are there"));
        return Ok(());
    }
    for Component { name, reason, .. } in &missing {
        progress::note(&format!("missing: {name} ({reason})"));
    }
    ensure!(
        command::exists("rustup"),
        "the toolchain in {} lacks components, and there is no rustup (https://rustup.rs) to add them",
        toolchain.display()
    );
    let names = missing.iter().map(|component| component.name);
    command::run(
        Command::new("rustup")
            .args(["component", "add"])
            .args(names)
            .current_dir(workspace::root()),
    )
}

fn missing(toolchain: &Path) -> Vec<&'static Component> {
    COMPONENTS
        .iter()
        .filter(|component| !toolchain.join(component.path).exists())
        .collect()
}

/// The root of the toolchain that builds the workspace.
fn toolchain() -> Result<PathBuf> {
    let sysroot = command::output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(workspace::root()),
    )?;
    Ok(PathBuf::from(sysroot.trim_end()))
}
