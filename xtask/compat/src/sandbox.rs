//! One run: a network namespace, a process namespace and a folder of its own.
//!
//! In a network namespace of its own every port is free, nobody else's traffic is near, and nothing
//! is left in `TIME_WAIT` for the next run. When the first process of a process namespace ends, the
//! kernel ends all others: daemons and what hangs included, without a search for them.

use std::{
    fs::{self, File},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{self, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use test_support::{owner, summary::Summary};

use super::{
    facts::{END, Facts, SUCCESS},
    program::{Program, Side},
};

/// The time after the program's own limit at which a run is ended from outside.
const GRACE: Duration = Duration::from_secs(20);

/// The time that a run may take to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lines of output that a failed run shows.
const TAIL: usize = 15;

/// Begins the name of a run's folder, before this process's id.
const FOLDER: &str = "socketvirt-compat-";

/// The things that all runs share.
pub struct Sandbox<'a> {
    pub binary: &'a Path,
    /// The folder of the programs' preparations.
    pub cache: &'a Path,
    /// Run the programs in their short form.
    pub short: bool,
}

/// The outcome of one run.
pub struct Finished {
    pub facts: Facts,
    /// Of `socketvirt exec`; plain runs have none.
    pub summary: Option<Summary>,
    pub took: Duration,
    /// The end of what it printed.
    pub tail: String,
}

/// Removes the folders of a command that was killed; its programs have ended with it.
pub fn sweep(temporary: &Path) -> Result<()> {
    let entries =
        fs::read_dir(temporary).with_context(|| format!("reading {}", temporary.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner::after(FOLDER, &name).is_some_and(|pid| !owner::lives(pid)) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

impl Sandbox<'_> {
    pub fn run(&self, program: &Program, side: Side) -> Result<Finished> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER}{}-", process::id()))
            .tempdir()
            .context("creating a temporary directory")?;
        let here = folder.path();
        for (name, text) in program.files {
            let file = here.join(name);
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        let output = here.join("output");
        let file = File::create(&output).context("creating the output's file")?;
        let start = Instant::now();
        let mut command = self.command(program, side, here);
        command
            .current_dir(here)
            // Its other end is the run's lifeline: closed, the run ends itself.
            .stdin(Stdio::piped())
            .stdout(file.try_clone().context("sharing the output's file")?)
            .stderr(file);
        let status = end_within(&mut command, program.limit + GRACE, PATIENCE)?;

        let mut facts = Facts::read(&here.join("facts"))?;
        facts.set(END, &ending(status));
        let summary = match side {
            Side::Plain => None,
            Side::Adopt | Side::Eager => fs::read(here.join("summary.json"))
                .ok()
                .and_then(|json| serde_json::from_slice(&json).ok()),
        };
        let printed = fs::read(&output).unwrap_or_default();
        Ok(Finished {
            facts,
            summary,
            took: start.elapsed(),
            tail: tail(&String::from_utf8_lossy(&printed)),
        })
    }

    fn command(&self, program: &Program, side: Side, folder: &Path) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--", "sh", "-c"])
            .args([r#"ip link set lo up && exec "$@""#, "sh"]);
        if side != Side::Plain {
            command
                .arg(self.binary)
                .args(["exec", "--mode", side.word(), "--quiet", "--summary"])
                .arg(folder.join("summary.json"))
                .arg("--");
        }
        let arguments = match program.short {
            Some(short) if self.short => short,
            _ => program.arguments,
        };
        command
            .args(["unshare", "--pid", "--mount-proc", "--fork"])
            .args(["--kill-child=KILL", "--"])
            // Debian's, whatever else is in PATH.
            .args(["/usr/bin/python3", "main.py"])
            .args(arguments)
            .process_group(0)
            .env("COMPAT_LIMIT", program.limit.as_secs().to_string())
            .env("COMPAT_CACHE", self.cache)
            .env("TMPDIR", folder)
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        command
    }
}

/// Runs to the end, or to the limit; `None` where it was ended.
fn end_within(
    command: &mut Command,
    limit: Duration,
    patience: Duration,
) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().context("starting unshare(1)")?;
    let group = Pid::from_raw(child.id().try_into().context("a process id")?);
    let (sender, ended) = mpsc::channel();
    let lifeline = child.stdin.take();
    let waiter = thread::spawn(move || {
        // The receiver waits for it, so that it is there.
        let _ = sender.send(child.wait());
    });
    let status = match ended.recv_timeout(limit) {
        Ok(status) => Some(status.context("waiting for a run")?),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // In order first, so that socketvirt takes away what it has in the kernel.
            drop(lifeline);
            if ended.recv_timeout(patience).is_err() {
                // The group's leader has not been waited for, so the id is still its own.
                let _ = killpg(group, Signal::SIGKILL);
            }
            None
        }
    };
    let _ = waiter.join();
    Ok(status)
}

fn ending(status: Option<ExitStatus>) -> String {
    match status {
        None => String::from("ended from outside"),
        Some(status) => match (status.code(), status.signal()) {
            (Some(0), _) => String::from(SUCCESS),
            (Some(124), _) => String::from("time limit"),
            (Some(code), _) => format!("status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        },
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_ended_with_its_children() -> Result<()> {
        let mut endless = Command::new("sh");
        endless
            .args(["-c", "sleep 1000 & sleep 1000"])
            .process_group(0);
        let status = end_within(&mut endless, Duration::from_millis(50), Duration::ZERO)?;
        assert_eq!(ending(status), "ended from outside");
        Ok(())
    }

    #[test]
    fn folders_of_the_dead_go() -> Result<()> {
        let temporary = tempfile::tempdir()?;
        let mut dead = Command::new("true").spawn()?;
        dead.wait()?;
        let folder = |pid: u32| temporary.path().join(format!("{FOLDER}{pid}-abc"));
        fs::create_dir(folder(dead.id()))?;
        fs::create_dir(folder(process::id()))?;
        fs::create_dir(temporary.path().join("other"))?;
        sweep(temporary.path())?;
        assert!(!folder(dead.id()).exists());
        assert!(folder(process::id()).exists());
        assert!(temporary.path().join("other").exists());
        Ok(())
    }

    #[test]
    fn ends_are_told_apart() -> Result<()> {
        let end = |script: &str| -> Result<String> {
            let mut command = Command::new("sh");
            command.args(["-c", script]).process_group(0);
            Ok(ending(end_within(
                &mut command,
                Duration::from_mins(1),
                PATIENCE,
            )?))
        };
        assert_eq!(end("exit 0")?, "success");
        assert_eq!(end("exit 3")?, "status 3");
        assert_eq!(end("exit 124")?, "time limit");
        assert_eq!(end("kill -9 $$")?, "signal 9");
        Ok(())
    }
}
