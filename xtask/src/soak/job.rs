//! A process with a limit to its time, its output in a file; it ends with its group when dropped.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

pub struct Job {
    pub name: String,
    pub log: PathBuf,
    pub line: String,
    child: Child,
    start: Instant,
    limit: Duration,
}

/// Joins the cgroups that come before `--`, then becomes the rest. It ends with this program.
const JOIN: &str = r#"while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 126; shift; done
shift; exec setpriv --pdeathsig KILL "$@""#;

impl Job {
    pub fn start(
        name: &str,
        words: &[String],
        groups: &[PathBuf],
        log: PathBuf,
        limit: Duration,
    ) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new("sh")
            .args(["-c", JOIN, "sh"])
            .args(groups)
            .arg("--")
            .args(words)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("sharing a log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            log,
            line: words.join(" "),
            child,
            start: Instant::now(),
            limit,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn process(&self) -> Pid {
        // A process id is positive and fits.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// To the process alone; it has not been waited for, so the id is its own.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.status()?.is_none() {
            kill(self.process(), signal)
                .with_context(|| format!("sending {signal} to {}", self.name))?;
        }
        Ok(())
    }

    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// How it ended, if it has within the time.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if status.is_some() || start.elapsed() > patience {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_late(&self) -> bool {
        self.start.elapsed() > self.limit
    }

    pub fn text(&self) -> String {
        read(&self.log)
    }

    /// Forgets the output of what went well.
    pub fn discard(self) {
        // Only room on the disk is lost.
        let _ = fs::remove_file(&self.log);
    }
}

pub fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

impl Drop for Job {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Fails only where all have ended already.
        let _ = killpg(self.process(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_followed_to_its_end() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let words = ["sh", "-c", "echo said; exit 3"].map(String::from);
        let log = folder.path().join("log");
        let mut job = Job::start("short", &words, &[], log, Duration::from_mins(1))?;
        let status = job.wait(Duration::from_mins(1))?;
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        assert_eq!(job.text(), "said\n");
        assert!(!job.is_late());
        Ok(())
    }
}
