//! Builds the BPF object that the agent embeds.
//!
//! The object lands in `OUT_DIR` as `socketvirt-ebpf`, so that
//! `aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socketvirt-ebpf"))` finds it.
//!
//! Cargo is run directly and not through `aya-build`, which reports each line of the inner build as
//! a warning of this package (cargo then repeats them at every later build), and reads
//! `RUSTC_BOOTSTRAP` from its own environment, where it would reach the agent's crates as well.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

const PACKAGE: &str = "socketvirt-ebpf";

/// What the object is made of, relative to this package.
const SOURCES: [&str; 6] = [
    "../Cargo.lock",
    "../Cargo.toml",
    "../rust-toolchain.toml",
    "../socketvirt-common/Cargo.toml",
    "../socketvirt-common/src",
    "../socketvirt-ebpf",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain alone: a backtrace of a build script helps nobody.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    require_rust_src()?;
    require_bpf_linker()?;

    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let object = build(&out_dir)?;
    let embedded = out_dir.join(PACKAGE);
    fs::copy(&object, &embedded)
        .with_context(|| format!("copying {} to {}", object.display(), embedded.display()))?;
    Ok(())
}

/// Builds the BPF crate for the byte order of the agent's target; returns the object's path.
fn build(out_dir: &Path) -> Result<PathBuf> {
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "little" => "bpfel-unknown-none",
        "big" => "bpfeb-unknown-none",
        other => bail!("no BPF target for the byte order {other:?}"),
    };
    // `aya-ebpf` picks the layout of `pt_regs` by this cfg; the words are BPF's, not rustc's.
    let arch = match variable("CARGO_CFG_TARGET_ARCH")? {
        arch if arch.starts_with("riscv64") => String::from("riscv64"),
        arch => arch,
    };
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from debug information; without it map dumps have no field names.
        String::from("-Cdebuginfo=2"),
        String::from("-Clink-arg=--btf"),
    ];
    // A directory of its own: the outer cargo holds the lock of the usual one.
    let target_dir = out_dir.join("bpf");

    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--release", "--package", PACKAGE, "--bins"])
        // rustup ships no `core` for BPF.
        .args(["-Zbuild-std=core", "--target", target, "--target-dir"])
        .arg(&target_dir)
        // Lets the pinned stable compiler take `-Z`; set for this child alone.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // Set by an outer `cargo clippy`, which would check instead of build.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC")
        // Cargo reads a build script's output as instructions.
        .stdout(Stdio::null());
    let status = cargo
        .status()
        .with_context(|| format!("starting {cargo:?}"))?;
    ensure!(status.success(), "building the BPF programs: {status}");
    Ok(target_dir.join(target).join("release").join(PACKAGE))
}

/// The sources of `core` belong to the compiler that will build them.
fn require_rust_src() -> Result<()> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .output()
        .with_context(|| format!("starting {rustc}"))?;
    let sysroot = String::from_utf8(output.stdout).context("the sysroot is not UTF-8")?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    ensure!(
        core.is_dir(),
        "rust-src is missing ({} is not there): run `cargo xtask setup`",
        core.display()
    );
    Ok(())
}

/// rustc names it as the linker of the BPF targets.
fn require_bpf_linker() -> Result<()> {
    let works = Command::new("bpf-linker")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    ensure!(
        works,
        "bpf-linker is missing or does not start: run `cargo xtask setup`"
    );
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("reading {name}, which cargo sets for build scripts"))
}
