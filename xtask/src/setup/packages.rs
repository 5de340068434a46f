//! The packages, each with its reason: the one list of what a fresh machine lacks.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    Purpose, require_root,
    services::{self, StartGuard},
};
use crate::progress;
use test_support::command;

struct Package {
    name: &'static str,
    purpose: Purpose,
    reason: &'static str,
}

const fn build(name: &'static str, reason: &'static str) -> Package {
    Package {
        name,
        purpose: Purpose::Build,
        reason,
    }
}

const fn bench(name: &'static str, reason: &'static str) -> Package {
    Package {
        name,
        purpose: Purpose::Bench,
        reason,
    }
}

const fn test(name: &'static str, reason: &'static str) -> Package {
    Package {
        name,
        purpose: Purpose::Test,
        reason,
    }
}

/// A package that one command alone needs, and setup does not install.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Extra<'a> {
    /// Its name in Debian.
    pub name: &'a str,
    /// The use that the command has for it.
    pub reason: &'a str,
}

const fn vm(name: &'static str, reason: &'static str) -> Package {
    Package {
        name,
        purpose: Purpose::Vm,
        reason,
    }
}

const PACKAGES: [Package; 22] = [
    build("g++", "links Rust programs, and bpf-linker with LLVM"),
    build("libpolly-22-dev", "LLVM's library list names Polly"),
    build(
        "llvm-22-dev",
        "bpf-linker must read the bitcode of the pinned rustc, which is LLVM 22's",
    ),
    bench("iproute2", "namespaces, veth pairs, bridges"),
    test("bpftool", "shows what is loaded in the kernel"),
    test("crun", "starts the containers of the tests"),
    test("curl", "HTTP client of the demo and the tests"),
    test("iperf3", "bulk streams"),
    test("libmemcached-tools", "memcached client"),
    test("memcached", "server under test"),
    test(
        "nftables",
        "address translation of the demo and between namespaces",
    ),
    test("nginx-light", "a server of the demo and under test"),
    test("procps", "finds the processes of a test, sets sysctls"),
    test("python3", "small servers of the tests"),
    test("redis-server", "a server of the demo and under test"),
    test(
        "redis-tools",
        "clients of redis, redis-benchmark among them",
    ),
    test("systemd", "systemd-analyze checks the unit"),
    test("wrk", "HTTP load of the demo and the tests"),
    vm("busybox-static", "shell and init of the machines"),
    vm("cpio", "packs their initramfs"),
    vm("qemu-system-x86", "emulates them"),
    vm("xz-utils", "unpacks kernel modules"),
];

/// Installs the packages that are missing for `purpose`.
pub fn ensure(purpose: Purpose) -> Result<()> {
    let needed: Vec<_> = PACKAGES
        .iter()
        .filter(|package| package.purpose <= purpose)
        .map(|&Package { name, reason, .. }| Extra { name, reason })
        .collect();
    ensure_all(&needed)
}

/// Installs those of `needed` that are missing.
pub fn ensure_all(needed: &[Extra<'_>]) -> Result<()> {
    let names: Vec<_> = needed.iter().map(|package| package.name).collect();
    ensure!(
        command::exists("dpkg-query") && command::exists("apt-get"),
        "setup installs packages with apt, which this machine has not; by their Debian names these are needed: {}",
        names.join(" ")
    );
    let installed = installed(&names)?;
    let missing: Vec<_> = needed
        .iter()
        .filter(|package| !installed.contains(package.name))
        .collect();
    if missing.is_empty() {
        progress::note(&format!("packages: all {} are there", names.len()));
        return Ok(());
    }
    for Extra { name, reason } in &missing {
        progress::note(&format!("missing: {name} ({reason})"));
    }
    require_root("installing packages")?;
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    install(&names)
}

/// Those of `names` that are installed.
fn installed(names: &[&str]) -> Result<BTreeSet<String>> {
    // Answers with status 1 when it knows nothing of one name, and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(names)
        .output()
        .context("starting dpkg-query")?;
    Ok(parse_status(&String::from_utf8_lossy(&output.stdout)))
}

/// A package that was removed but not purged is still listed, as `config-files`.
fn parse_status(listing: &str) -> BTreeSet<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

fn install(names: &[&str]) -> Result<()> {
    let listening_before = services::listening()?;
    let guard = StartGuard::place()?;

    progress::step("setup: apt-get update");
    // A third party's repository may be out of order without any harm here.
    if let Err(error) = command::run(apt_get().arg("update")) {
        progress::note(&format!("going on with the old package lists: {error:#}"));
    }
    progress::step(&format!("setup: apt-get install {}", names.join(" ")));
    let outcome = command::run(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(names),
    );
    drop(guard);
    services::keep_stopped(names, &listening_before)?;
    outcome.context(
        "installing packages; LLVM 22 is in the security archive of Debian 12 and at https://apt.llvm.org",
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        // Another installation under way is waited for.
        .args([
            "-q",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let listing =
            "wrk installed\nmemcached config-files\niperf3 not-installed\ncurl half-installed\n";
        assert_eq!(parse_status(listing), BTreeSet::from([String::from("wrk")]));
    }

    #[test]
    fn names_are_sorted_within_a_purpose_and_unique() {
        assert!(
            PACKAGES
                .windows(2)
                .all(|pair| (pair[0].purpose, pair[0].name) < (pair[1].purpose, pair[1].name))
        );
    }
}
