//! Builds the BPF objects that the agent embeds.
//!
//! The object lands in `OUT_DIR` as `socketvirt-ebpf`, so that
//! `aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socketvirt-ebpf"))` finds it, and the
//! benchmark's as `naive`.
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

/// The objects that the package builds.
const OBJECTS: [&str; 2] = [PACKAGE, "naive"];

/// The sources of the objects, relative to this package.
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
    let built = build(&out_dir)?;
    for name in OBJECTS {
        let (object, embedded) = (built.join(name), out_dir.join(name));
        let mut bytes =
            fs::read(&object).with_context(|| format!("reading {}", object.display()))?;
        mark_text(&mut bytes).context("the BTF of the BPF object is not as expected")?;
        fs::write(&embedded, bytes).with_context(|| format!("writing {}", embedded.display()))?;
    }
    Ok(())
}

/// Marks the type `i8` as a character in the object's BTF, by which `bpftool`
/// prints arrays of it as text. Rust has no type of one byte that LLVM would
/// mark so, and the object uses `i8` for text alone.
fn mark_text(object: &mut [u8]) -> Option<()> {
    /// `BTF_KIND_INT`, and the encoding `BTF_INT_CHAR` (include/uapi/linux/btf.h).
    const INT: u32 = 1;
    const CHAR: u32 = 2;
    let start = btf_section(object)?;
    let word = |object: &[u8], at: usize| -> Option<u32> {
        let bytes = object.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let place = |object: &[u8], at: usize| usize::try_from(word(object, at)?).ok();
    let header = place(object, start + 4)?;
    let types = start + header + place(object, start + 8)?;
    let end = types + place(object, start + 12)?;
    let strings = start + header + place(object, start + 16)?;
    let mut at = types;
    while at < end {
        let info = word(object, at + 4)?;
        let (kind, members) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
        let name = strings + place(object, at)?;
        if kind == INT && object.get(name..name + 3)? == b"i8\0" {
            let data = word(object, at + 12)? & 0x00ff_ffff | CHAR << 24;
            object
                .get_mut(at + 12..at + 16)?
                .copy_from_slice(&data.to_ne_bytes());
        }
        at += 12
            + match kind {
                // Integers, variables, tags on declarations.
                1 | 14 | 17 => 4,
                // Arrays.
                3 => 12,
                // Structures, unions, sections, wide enumerations.
                4 | 5 | 15 | 19 => members * 12,
                // Enumerations, prototypes.
                6 | 13 => members * 8,
                _ => 0,
            };
    }
    Some(())
}

/// Where the section `.BTF` of a 64-bit ELF object of this machine's byte
/// order begins.
fn btf_section(object: &[u8]) -> Option<usize> {
    let half = |at: usize| -> Option<usize> {
        Some(u16::from_ne_bytes(object.get(at..at + 2)?.try_into().ok()?).into())
    };
    let word = |at: usize| -> Option<usize> {
        usize::try_from(u32::from_ne_bytes(object.get(at..at + 4)?.try_into().ok()?)).ok()
    };
    let long = |at: usize| -> Option<usize> {
        usize::try_from(u64::from_ne_bytes(object.get(at..at + 8)?.try_into().ok()?)).ok()
    };
    let (table, size, count, names) = (long(0x28)?, half(0x3a)?, half(0x3c)?, half(0x3e)?);
    let names = long(table + names * size + 0x18)?;
    (0..count).find_map(|index| {
        let section = table + index * size;
        let name = names + word(section)?;
        (object.get(name..name + 5)? == b".BTF\0").then(|| long(section + 0x18))?
    })
}

/// Builds the BPF crate for the byte order of the agent's target; returns where the objects are.
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
    // A directory of its own: the outer cargo holds the lock of the usual one. It is the same for every outer
    // build of a target directory (`<target>/<profile>/build/<package>/out`), so that the programs are built once.
    let target_dir = out_dir.ancestors().nth(4).unwrap_or(out_dir).join("bpf");

    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--release", "--package", PACKAGE, "--bins"])
        // rustup ships no `core` for BPF.
        .args(["-Zbuild-std=core", "--target", target, "--target-dir"])
        .arg(&target_dir)
        // Lets the pinned stable compiler take `-Z`; set for this child alone.
        .env("RUSTC_BOOTSTRAP", "1")
        // In many small pieces the compiler makes code that the verifier refuses.
        .env("CARGO_INCREMENTAL", "0")
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
    Ok(target_dir.join(target).join("release"))
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
