//! Databases and caches: a request and its answer, thousands of times, and bulk in between.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use test_support::command;
use xtask::setup::Extra;

use super::program::{Program, SUPPORT, seconds};

const POSTGRESQL: &[Extra<'_>] = &[Extra {
    name: "postgresql",
    reason: "server under test, psql and pgbench",
}];
const TCL: &[Extra<'_>] = &[Extra {
    name: "tcl",
    reason: "the language of redis's test suite",
}];

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "postgresql",
        what: "queries, pgbench, COPY of 100 MB",
        packages: POSTGRESQL,
        prepare: None,
        files: &[("main.py", include_str!("../data/postgresql.py")), SUPPORT],
        arguments: &["1000000", "500"],
        short: Some(&["200000", "50"]),
        limit: seconds(300),
        known: &[],
    },
    Program {
        name: "memcached",
        what: "8 clients, large values, pipelines, memslap",
        packages: &[],
        prepare: None,
        files: &[("main.py", include_str!("../data/memcached.py")), SUPPORT],
        arguments: &[],
        short: None,
        limit: seconds(120),
        known: &[],
    },
    Program {
        name: "redis-suite",
        what: "redis's own test suite",
        packages: TCL,
        prepare: Some(redis_source),
        files: &[("main.py", include_str!("../data/redis.py")), SUPPORT],
        arguments: &REDIS_UNITS,
        short: None,
        limit: seconds(600),
        known: &[],
    },
];

/// The units that talk to a server; those about encodings and single commands alone are left out.
const REDIS_UNITS: [&str; 18] = [
    "unit/protocol",
    "unit/pubsub",
    "unit/pubsubshard",
    "unit/querybuf",
    "unit/multi",
    "unit/scripting",
    "unit/scan",
    "unit/introspection",
    "unit/limits",
    "unit/obuf-limits",
    "unit/client-eviction",
    "unit/tracking",
    "unit/type/list",
    "unit/type/stream",
    "integration/redis-cli",
    "integration/redis-benchmark",
    "integration/replication-psync",
    "integration/block-repl",
];

/// Unpacks the source of the installed redis, for its tests alone.
///
/// The lists of source packages are the run's own: the machine's configuration of apt has none on
/// many machines, and stays as it is.
fn redis_source(cache: &Path) -> Result<()> {
    let tree = cache.join("redis");
    if tree.join("tests").is_dir() {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no Debian release")?;
    let apt = cache.join("apt");
    fs::create_dir_all(apt.join("lists/partial"))
        .with_context(|| format!("creating {}", apt.display()))?;
    let list = apt.join("sources.list");
    let key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";
    let text = format!(
        "deb-src [{key}] http://deb.debian.org/debian {codename} main\n\
         deb-src [{key}] http://deb.debian.org/debian-security {codename}-security main\n"
    );
    fs::write(&list, text).with_context(|| format!("writing {}", list.display()))?;
    let apt_get = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-o", "APT::Sandbox::User=root"])
            .arg("-o")
            .arg(format!("Dir::Etc::sourcelist={}", list.display()))
            .args(["-o", "Dir::Etc::sourceparts=/nonexistent", "-o"])
            .arg(format!("Dir::State::lists={}", apt.join("lists").display()))
            .args([
                "-o",
                "Dir::Cache::pkgcache=",
                "-o",
                "Dir::Cache::srcpkgcache=",
            ])
            .args(words)
            .current_dir(&apt);
        command::run(&mut command)
    };
    apt_get(&["update"])?;
    apt_get(&["source", "--download-only", "redis"])?;
    let archive = find_archive(&apt)?;
    fs::create_dir_all(&tree).with_context(|| format!("creating {}", tree.display()))?;
    command::run(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&tree),
    )?;
    ensure!(
        tree.join("tests").is_dir(),
        "{} holds no tests",
        archive.display()
    );
    Ok(())
}

fn find_archive(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(".orig.tar"))
        .with_context(|| format!("apt-get left no source archive in {}", folder.display()))
}
