//! Network namespaces that go away with their guard.

use std::{
    fs,
    io::Write as _,
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{Context as _, Result, ensure};

use crate::{command, owner};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace with its loopback up.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one whose name is `prefix`, this process's id, and a number.
    pub fn new(prefix: &str) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Relaxed);
        let name = format!("{prefix}{}-{number}", process::id());
        command::output(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self { name };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name])
            .args(arguments.split_whitespace());
        command::output(&mut ip).map(drop)
    }

    /// A command that runs inside the program that its first argument will name.
    pub fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command
    }

    /// Runs a program inside and returns what it printed.
    pub fn exec(&self, line: &str) -> Result<String> {
        command::output(self.command().args(line.split_whitespace()))
    }

    /// Loads an nftables ruleset inside.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = self.command();
        nft.args(["nft", "-f", "-"]);
        let mut child = nft
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{}`", command::line(&nft)))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(rules.as_bytes())
                .context("writing rules to nft")?;
        }
        let output = child.wait_with_output().context("waiting for nft")?;
        ensure!(
            output.status.success(),
            "nft refuses these rules: {}\n{rules}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(())
    }

    /// Sets a sysctl inside.
    pub fn sysctl(&self, setting: &str) -> Result<()> {
        self.exec(&format!("sysctl -qw {setting}")).map(drop)
    }

    /// Makes a veth pair, one end inside under this name, the other one in `far` under that name.
    pub fn connect(&self, name: &str, far: &Self, far_name: &str) -> Result<()> {
        self.ip(&format!(
            "link add {name} type veth peer name {far_name} netns {}",
            far.name
        ))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A namespace that is in use goes when its last process does.
        let _ = command::output(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

/// Removes the namespaces whose names begin with `prefix` and the id of a process that has ended, or of this one.
/// Returns their names.
pub fn sweep(prefix: &str) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let gone = |pid| pid == process::id() || !owner::lives(pid);
        if owner::after(prefix, &name).is_some_and(gone) {
            command::output(Command::new("ip").args(["netns", "delete", &name]))?;
            removed.push(name);
        }
    }
    Ok(removed)
}
