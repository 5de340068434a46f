//! The test programs of all packages, built together: with the same packages chosen each time, cargo compiles no
//! dependency twice for the sake of another set of features.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use test_support::command;
use xtask::workspace;

use super::{PROFILE, WITHOUT_BPF};

/// The packages with programs that test, and not measure: arithmetic that overflows is caught in them, and so is
/// what they assert for debugging. What is built for use is built without.
const CHECKED: [&str; 9] = [
    "socketvirt",
    "socketvirt-common",
    "socketvirt-tests",
    "test-support",
    "xtask",
    "xtask-compat",
    "xtask-package",
    "xtask-soak",
    "xtask-vm",
];

/// A program of tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Its package's folder.
    pub package: PathBuf,
    /// Its name.
    pub target: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Program {
    /// Starts as cargo would start it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.package);
        command
    }

    /// True when it needs root and the kernel.
    pub fn is_integration(&self) -> bool {
        self.package.ends_with("tests")
    }
}

/// `cargo test` of all packages.
pub fn cargo_test() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", PROFILE]).args(WITHOUT_BPF);
    for package in CHECKED {
        for check in ["overflow-checks", "debug-assertions"] {
            let setting = format!("profile.release.package.{package}.{check}=true");
            cargo.args(["--config", &setting]);
        }
    }
    cargo
}

/// Builds all of them.
pub fn build() -> Result<Vec<Program>> {
    let mut cargo = cargo_test();
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let all = found(&command::told(&mut cargo)?)?;
    ensure!(
        all.iter().any(Program::is_integration),
        "there are no integration tests"
    );
    Ok(all)
}

/// The programs among cargo's messages.
fn found(messages: &str) -> Result<Vec<Program>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        target: Option<Target>,
        profile: Option<Profile>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let mut all = Vec::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("a message of cargo")?;
        if let (Some(path), Some(manifest), Some(target), Some(Profile { test: true })) = (
            message.executable,
            message.manifest_path,
            message.target,
            message.profile,
        ) {
            all.push(Program {
                package: manifest.parent().map(Path::to_owned).unwrap_or_default(),
                target: target.name,
                path,
            });
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/r/serde/Cargo.toml","target":{"name":"serde"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"splicers"},"profile":{"test":true},"executable":"/t/splicers-1"}
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"workload"},"profile":{"test":false},"executable":"/t/workload"}
{"reason":"build-finished","success":true}"#;
        let found = found(messages).expect("messages");
        let splicers = Program {
            package: "/w/tests".into(),
            target: "splicers".into(),
            path: "/t/splicers-1".into(),
        };
        assert!(splicers.is_integration());
        assert_eq!(found, [splicers]);
    }
}
