//! The place of one deployment: a cgroup, a network namespace, a folder, and its servers. It goes when it is dropped.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
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

use super::deployment::{Deployment, Server};

/// Begins the names of all that is made, before this process's id.
const PREFIX: &str = "svt-reach-";

/// For servers to start: a JVM on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_mins(2);

/// The stage of one deployment.
pub struct Stage<'a> {
    // In the order in which they have to go.
    servers: Vec<Job>,
    group: Group,
    netns: Netns,
    folder: TempDir,
    interrupts: &'a Interrupts,
    /// Looked through before the host's own.
    programs: PathBuf,
    jobs: AtomicU32,
}

/// A cgroup whose processes end with it: servers leave the process group in which they are started.
struct Group(Cgroup);

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = cgroup::kill(self.0.folder()) {
            eprintln!("{error:#}");
        }
    }
}

/// Removes what a command left that was killed.
pub fn sweep() -> Result<()> {
    let root = cgroup::root()?;
    let entries = fs::read_dir(&root).with_context(|| format!("reading {}", root.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner::after(PREFIX, &name).is_some_and(|pid| !owner::lives(pid)) {
            let folder = entry.path();
            cgroup::kill(&folder)?;
            cgroup::remove(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
    }
    netns::sweep(PREFIX).map(drop)
}

impl<'a> Stage<'a> {
    /// Makes everything, and starts the servers one after the other. `programs` is a folder that comes first in `PATH`.
    pub fn set(
        deployment: &Deployment,
        programs: &Path,
        interrupts: &'a Interrupts,
    ) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", process::id(), NUMBER.fetch_add(1, Relaxed));
        let folder = tempfile::tempdir().context("creating a temporary directory")?;
        // Some servers refuse to run as root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .context("opening the temporary directory to others")?;
        let mut stage = Self {
            servers: Vec::new(),
            group: Group(Cgroup::make(cgroup::root()?.join(name))?),
            netns: Netns::new(PREFIX)?,
            folder,
            interrupts,
            programs: programs.to_owned(),
            jobs: AtomicU32::new(0),
        };
        for (name, text) in deployment.files {
            stage.write(name, text)?;
        }
        if !deployment.prepare.is_empty() {
            stage.run(deployment.prepare, 0, &mut || Ok(()))?;
        }
        for server in deployment.servers {
            stage.serve(server)?;
        }
        Ok(stage)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn serve(&mut self, server: &Server) -> Result<()> {
        let mut job = self.start(server.line, 0)?;
        job.until_ready(PATIENCE, || {
            self.interrupts.check()?;
            Ok(self.run(server.answers, 0, &mut || Ok(())).is_ok())
        })?;
        self.servers.push(job);
        Ok(())
    }

    /// The cgroup of servers and clients.
    pub fn cgroup(&self) -> &Path {
        self.group.0.folder()
    }

    /// A file of the stage's own, another one each time.
    pub fn file(&self, name: &str) -> PathBuf {
        let number = self.jobs.fetch_add(1, Relaxed);
        self.folder.path().join(format!("{number}-{name}"))
    }

    /// Processor time that all processes of the cgroup have used so far, also those that have ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let file = self.cgroup().join("cpu.stat");
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok())
            .with_context(|| format!("no usage_usec in {}", file.display()))?;
        Ok(Duration::from_micros(used))
    }

    /// Runs a line to its end, which has to be success, and returns what it printed. It has `seconds` in `TIME`, and
    /// `meanwhile` is called again and again.
    pub fn run(
        &self,
        line: &str,
        seconds: u32,
        meanwhile: &mut dyn FnMut() -> Result<()>,
    ) -> Result<String> {
        let patience = PATIENCE + Duration::from_secs(seconds.into());
        self.start(line, seconds)?.success(patience, || {
            self.interrupts.check()?;
            meanwhile()
        })
    }

    fn start(&self, line: &str, seconds: u32) -> Result<Job> {
        let path = format!(
            "PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.programs.display()
        );
        let words: Vec<String> = ["ip", "netns", "exec", self.netns.name(), "env", "-C"]
            .map(String::from)
            .into_iter()
            .chain([
                self.folder.path().display().to_string(),
                path,
                format!("TIME={seconds}"),
                String::from("LC_ALL=C.UTF-8"),
            ])
            .chain(["sh", "-c", line].map(String::from))
            .collect();
        let groups = [self.cgroup().to_owned()];
        Job::start(line, &words, &groups, self.file("log"), FOR_EVER)
    }
}
