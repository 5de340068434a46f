//! A process with a limit to its time, its output in a file; it ends with its group when dropped.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::wait;

/// No limit.
pub const FOR_EVER: Duration = Duration::from_secs(u64::MAX);

/// The process and where its output goes.
#[derive(Debug)]
pub struct Job {
    /// For messages.
    pub name: String,
    /// The command line, for trying it by hand.
    pub line: String,
    log: PathBuf,
    child: Child,
    start: Instant,
    limit: Duration,
}

/// Joins the cgroups that come before `--`, then becomes the rest. It ends with this program.
const JOIN: &str = r#"while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 126; shift; done
shift; exec setpriv --pdeathsig KILL "$@""#;

impl Job {
    /// Starts `words` in the cgroups, with both outputs to `log`. The limit is for [`Job::is_late`] alone.
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
            line: words.join(" "),
            log,
            child,
            start: Instant::now(),
            limit,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn process(&self) -> Pid {
        // A process id is positive and fits.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Sends a signal to the process alone; it has not been waited for, so the id is its own.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.status()?.is_none() {
            kill(self.process(), signal)
                .with_context(|| format!("sending {signal} to {}", self.name))?;
        }
        Ok(())
    }

    /// Returns its status, once it has ended.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Returns the status with which it ended, if it has within the time.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let mut status = None;
        wait::until(patience, || {
            status = self.status()?;
            Ok(status.is_some())
        })?;
        Ok(status)
    }

    /// Waits until a program that goes on `answers`; fails when it ends before.
    pub fn until_ready(
        &mut self,
        patience: Duration,
        mut answers: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let ready = wait::until(patience, || {
            if let Some(status) = self.status()? {
                bail!("`{}` ended: {status}\n{}", self.line, self.text());
            }
            answers()
        })?;
        ensure!(ready, "`{}` does not answer\n{}", self.line, self.text());
        Ok(())
    }

    /// Waits for its end, which has to be success, and returns what it printed.
    /// `meanwhile` is called again and again.
    pub fn success(
        mut self,
        patience: Duration,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<String> {
        let mut status = None;
        wait::until(patience, || {
            meanwhile()?;
            status = self.status()?;
            Ok(status.is_some())
        })?;
        let text = self.text();
        match status {
            Some(status) if status.success() => {
                self.discard();
                Ok(text)
            }
            Some(status) => bail!("`{}` failed: {status}\n{text}", self.line),
            None => bail!(
                "`{}` hangs: not done after {} s\n{text}",
                self.line,
                patience.as_secs()
            ),
        }
    }

    /// True once its time is over.
    pub fn is_late(&self) -> bool {
        self.start.elapsed() > self.limit
    }

    /// Returns its output so far.
    pub fn text(&self) -> String {
        read(&self.log)
    }

    /// Forgets the output of what went well.
    pub fn discard(self) {
        // Only room on the disk is lost.
        let _ = fs::remove_file(&self.log);
    }
}

/// A file's text, or nothing where it cannot be read.
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
