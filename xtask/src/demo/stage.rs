//! All that the demo makes: a cgroup, containers, servers and the programs that run in them. It goes when it is dropped.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use test_support::{
    cgroup::{self, Cgroup},
    job::{FOR_EVER, Job},
    netns::{self, Netns},
    owner,
    signals::Interrupts,
};

use super::network::{self, Network, Place};

/// For programs to start and to end; each works for some seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// The stage of one demo.
pub struct Stage<'a> {
    // In the order in which they have to go.
    servers: Vec<Job>,
    network: Network,
    cgroup: Cgroup,
    folder: TempDir,
    interrupts: &'a Interrupts,
    jobs: AtomicU32,
}

impl<'a> Stage<'a> {
    /// Makes everything but the servers.
    pub fn set(interrupts: &'a Interrupts) -> Result<Self> {
        let name = format!("{}{}", network::PREFIX, process::id());
        let cgroup = Cgroup::make(cgroup::root()?.join(name))?;
        Ok(Self {
            servers: Vec::new(),
            network: Network::make()?,
            cgroup,
            folder: tempfile::tempdir().context("creating a temporary directory")?,
            interrupts,
            jobs: AtomicU32::new(0),
        })
    }

    /// Starts a server, which lives as long as the stage, and waits until it answers.
    pub fn serve(&mut self, line: &str, answers: Answers<'_>) -> Result<()> {
        let words: Vec<_> = line.split(' ').collect();
        let mut server = self.start(self.network.server(), &words)?;
        self.wait_for(&mut server, answers)?;
        self.servers.push(server);
        Ok(())
    }

    fn wait_for(&self, server: &mut Job, answers: Answers<'_>) -> Result<()> {
        server.until_ready(PATIENCE, || {
            self.interrupts.check()?;
            Ok(answers(self).is_ok())
        })
    }

    /// The folder of all files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The cgroup of servers and clients.
    pub fn cgroup(&self) -> &Path {
        self.cgroup.folder()
    }

    /// A file of the stage's own, another one each time.
    pub fn file(&self, name: &str) -> PathBuf {
        let number = self.jobs.fetch_add(1, Relaxed);
        self.folder.path().join(format!("{number}-{name}"))
    }

    /// Starts a program in a container and in the cgroup.
    fn start(&self, netns: &Netns, words: &[&str]) -> Result<Job> {
        let inside = ["ip", "netns", "exec", netns.name()];
        let all: Vec<_> = inside
            .iter()
            .chain(words)
            .map(ToString::to_string)
            .collect();
        let name = words.first().copied().unwrap_or_default();
        let groups = [self.cgroup().to_owned()];
        Job::start(name, &all, &groups, self.file("log"), FOR_EVER)
    }

    /// Runs a client to its end, which has to be success. Returns what it printed.
    pub fn client(&self, place: Place, words: &[&str]) -> Result<String> {
        let job = self.start(self.network.client(place), words)?;
        job.success(PATIENCE, || self.interrupts.check())
    }
}

/// Asks a server once.
pub type Answers<'a> = &'a dyn Fn(&Stage<'_>) -> Result<()>;

/// Removes what a demo left that was killed: its processes have ended with it.
pub fn sweep() -> Result<()> {
    cgroup::sweep(&cgroup::root()?, network::PREFIX);
    netns::sweep(network::PREFIX).map(drop)
}

/// Lists what there is of this demo's own.
pub fn traces() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in [cgroup::root()?, PathBuf::from("/run/netns")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if owner::after(network::PREFIX, &name) == Some(process::id()) {
                found.insert(entry.path().display().to_string());
            }
        }
    }
    Ok(found)
}
