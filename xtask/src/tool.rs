//! Cargo commands of others, built where they are missing.

use std::process::Command;

use anyhow::{Result, ensure};
use test_support::command;

use crate::{progress, workspace};

/// A cargo command.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// The release that was seen to work.
    version: &'static str,
}

/// Writes .deb.
pub const DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// Writes .rpm.
pub const RPM: Tool = Tool {
    name: "cargo-generate-rpm",
    version: "0.21.1",
};

/// Looks for inputs that a program cannot take.
pub const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
};

/// Builds a tool unless this version of it is there.
pub fn ensure(tool: &Tool) -> Result<()> {
    let Tool { name, version } = tool;
    if is_there(tool)? {
        progress::note(&format!("{name}: {version} is there"));
        return Ok(());
    }
    progress::step(&format!("cargo install {name} {version} (some minutes)"));
    command::run(&mut install(name, version))?;
    ensure!(
        is_there(tool)?,
        "{name} was installed, and cargo does not list it"
    );
    Ok(())
}

/// The command that builds a release of a tool.
pub fn install(name: &str, version: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo
        .args(["install", name, "--locked", "--force"])
        .arg(format!("--version={version}"));
    cargo
}

/// Asks cargo, because not every tool tells its version.
fn is_there(tool: &Tool) -> Result<bool> {
    let list = command::output(Command::new("cargo").args(["install", "--list"]))?;
    let line = format!("{} v{}:", tool.name, tool.version);
    Ok(list.lines().any(|one| one == line))
}
