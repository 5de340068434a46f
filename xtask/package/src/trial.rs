//! `cargo xtask package --try`: the life of the package on a system of its own.
//!
//! The systemd of this machine boots on an overlay of its root, in namespaces of its own. There the
//! package is installed, the unit started, redis accelerated, the agent killed, the package upgraded
//! and removed. Nothing of it reaches this machine but the programs in the kernel, which are gone then.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use test_support::{cgroup, command, lock};
use xtask::{
    progress,
    setup::{self, Extra},
    workspace,
};

/// What the trial needs beside what tests need.
const PACKAGES: [Extra<'_>; 2] = [
    Extra {
        name: "redis-server",
        reason: "is accelerated",
    },
    Extra {
        name: "systemd",
        reason: "starts the unit",
    },
];

/// The namespaces, and what becomes process 1 of them.
const NAMESPACES: [&str; 8] = [
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--ipc",
    "--uts",
    "--net",
];

/// The cgroup that the system sees as its top one.
const CGROUP: &str = "socketvirt-trial";

/// Tries a package. Fails when anything is not as it should be.
pub fn run(package: &Path) -> Result<()> {
    setup::require_root("the trial makes namespaces and loads programs, which")?;
    setup::run_extra(&PACKAGES)?;
    progress::step("package: waiting for other demos and tests to end");
    let _alone = lock::whole_host()?;
    progress::step("package: the life of the .deb, on a system of its own");
    let top = cgroup::root()?.join(CGROUP);
    fs::create_dir_all(&top).with_context(|| format!("making {}", top.display()))?;
    let told = boot(package, &top);
    // Inner ones first; there are none after a good end.
    let _ = Command::new("find")
        .arg(&top)
        .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
        .output();
    let (results, log) = told?;
    verdict(&results, &log)
}

/// Boots the system. Returns its results, and what it told beside them.
fn boot(package: &Path, top: &Path) -> Result<(String, String)> {
    let data = workspace::root().join("xtask/package/data");
    let work = tempfile::tempdir().context("making a folder")?;
    let told = tempfile::tempdir().context("making a folder")?;
    // In the cgroup first: it is the top of the new namespace.
    let script = "echo $$ > \"$0/cgroup.procs\"; exec unshare --cgroup \"$@\"";
    let mut boot = Command::new("sh");
    boot.args(["-c", script])
        .arg(top)
        .args(NAMESPACES)
        .arg("sh")
        .arg(data.join("boot.sh"))
        .arg(work.path())
        .arg(package)
        .arg(&data)
        .arg(told.path());
    let output = boot
        .output()
        .with_context(|| format!("starting `{}`", command::line(&boot)))?;
    let read = |name: &str| fs::read_to_string(told.path().join(name)).unwrap_or_default();
    let console = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((read("results"), read("log") + &console))
}

/// Reads the results.
fn verdict(results: &str, log: &str) -> Result<()> {
    let lines = |begin: &'static str| results.lines().filter_map(move |l| l.strip_prefix(begin));
    for good in lines("ok ") {
        progress::note(good);
    }
    let failed: Vec<_> = lines("FAILED ").collect();
    ensure!(failed.is_empty(), "not so: {}\n{log}", failed.join("; "));
    ensure!(
        results.lines().last() == Some("end"),
        "the trial did not come to its end:\n{log}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_fails_or_ends_early_is_told() {
        assert!(verdict("ok a\nok b\nend\n", "").is_ok());
        let error = verdict("ok a\nFAILED b\nend\n", "log").unwrap_err();
        assert!(error.to_string().contains("not so: b"), "{error}");
        assert!(verdict("ok a\nok b\n", "").is_err());
    }
}
