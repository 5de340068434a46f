//! Programs inside the machine: our own, and the host's tools that they call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use test_support::command::{self, find};
use xtask::{progress, workspace};

/// Where the machine has our programs. Tests look for the workload above their own folder.
pub const RELEASE: &str = "/release";

/// Tools that tests call.
const TOOLS: [&str; 5] = ["bash", "bpftool", "ip", "nft", "ss"];

/// Files by the path that they get in the machine.
pub type Programs = BTreeMap<PathBuf, PathBuf>;

/// Builds the tests, of which the machine gets those that are `wanted`, and collects everything.
pub fn collect(binary: &Path, wanted: &[&str]) -> Result<Programs> {
    progress::step("vm: programs for inside the machine");
    let release = Path::new(RELEASE);
    let mut programs = Programs::new();
    programs.insert(release.join("socketvirt"), binary.to_owned());
    let workload = binary.with_file_name("workload");
    programs.insert(release.join("workload"), workload);
    programs.insert(release.join("vm"), command::this()?.to_owned());
    if !wanted.is_empty() {
        for (name, test) in tests()? {
            if wanted.contains(&name.as_str()) {
                programs.insert(release.join("deps").join(name), test);
            }
        }
    }
    for tool in TOOLS {
        programs.insert(Path::new("/bin").join(tool), find(tool)?);
    }
    let mut libraries = BTreeSet::new();
    for program in programs.values() {
        libraries.extend(libraries_of(program)?);
    }
    programs.extend(libraries.into_iter().map(|file| (file.clone(), file)));
    programs.insert("/bin/busybox".into(), find("busybox")?);
    progress::note(&format!("{} files", programs.len()));
    Ok(programs)
}

/// The integration tests, built: their names and files.
fn tests() -> Result<Vec<(String, PathBuf)>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }

    let messages = command::output(workspace::cargo().args([
        "test",
        "--release",
        "--package",
        "socketvirt-tests",
        "--no-run",
        "--message-format=json",
    ]))?;
    let mut tests = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("reading cargo's messages")?;
        if let (Some(file), Some(target)) = (message.executable, message.target)
            && message.reason == "compiler-artifact"
            && target.kind.iter().any(|kind| kind == "test")
        {
            tests.push((target.name, file));
        }
    }
    ensure!(!tests.is_empty(), "cargo built no integration tests");
    Ok(tests)
}

/// The libraries that the loader would take, itself among them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let listing = command::output(Command::new("ldd").arg(program))?;
    ensure!(
        !listing.contains("not found"),
        "{} lacks libraries:\n{listing}",
        program.display()
    );
    Ok(parse(&listing))
}

fn parse(listing: &str) -> Vec<PathBuf> {
    listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Copies a program without what only a debugger reads.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(to)
        .arg(from)
        .output()
        .is_ok_and(|output| output.status.success());
    if !stripped {
        duplicate(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

/// Copies a file with its permissions.
///
/// Not by `fs::copy`: it brings splice(2) into this program, whose sockets the
/// check of the kernel's NFS server then could not enrol.
pub fn duplicate(from: &Path, to: &Path) -> io::Result<()> {
    fs::write(to, fs::read(from)?)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

#[cfg(test)]
mod tests_of_parsing {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let listing = "\tlinux-vdso.so.1 (0x00007fc095601000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fc094c1e000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007fc095603000)\n";
        assert_eq!(
            parse(listing),
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }
}
