//! bpf-linker: rustc emits LLVM bitcode for BPF, and this links it into one object with BTF.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{progress, tool};
use test_support::command;

/// The release that was seen to work with the pinned toolchain.
const VERSION: &str = "0.13.0";

/// Where Debian's llvm-22-dev is.
const LLVM: &str = "/usr/lib/llvm-22";

/// Builds bpf-linker unless this version of it is there.
pub fn ensure() -> Result<()> {
    match version() {
        Some(found) if found == VERSION => {
            progress::note(&format!("bpf-linker: {VERSION} is there"));
            return Ok(());
        }
        Some(found) => progress::note(&format!("bpf-linker: is {found}, {VERSION} is needed")),
        None => progress::note("missing: bpf-linker (links the BPF object)"),
    }
    progress::step(&format!(
        "setup: cargo install bpf-linker {VERSION} (about two minutes)"
    ));
    command::run(
        tool::install("bpf-linker", VERSION)
            .args(["--no-default-features", "--features=llvm-22"])
            .env("LLVM_PREFIX", LLVM),
    )?;
    ensure!(
        version().as_deref() == Some(VERSION),
        "bpf-linker was installed, but another one or none is in PATH: put cargo's bin directory first"
    );
    Ok(())
}

/// The version of the bpf-linker in `PATH`, if it starts.
fn version() -> Option<String> {
    let answer = command::answer(Command::new("bpf-linker").arg("--version"))?;
    Some(answer.trim().strip_prefix("bpf-linker ")?.to_owned())
}
