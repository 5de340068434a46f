//! Programs that may not run for ever, read line by line.

use std::{
    io::{self, BufRead as _, BufReader},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use test_support::command;

/// The end of a program.
pub struct Ended {
    /// Its exit code, where it has one.
    pub code: Option<i32>,
    signal: Option<i32>,
    /// True when it was ended because of its time.
    pub late: bool,
    /// Its output, both streams as they came.
    pub lines: Vec<String>,
}

impl Ended {
    pub fn succeeded(&self) -> bool {
        !self.late && self.code == Some(0)
    }

    /// Says why it did not succeed.
    pub fn reason(&self) -> String {
        if self.late {
            return String::from("it took too long");
        }
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        format!("{how}: {}", self.last_line())
    }

    /// The last line that is not empty.
    pub fn last_line(&self) -> String {
        let line = self.lines.iter().rfind(|line| !line.trim().is_empty());
        line.map_or_else(|| "no output".into(), |line| line.trim().to_owned())
    }
}

/// Runs a program for at most `limit` seconds. What it prints goes to the console as well.
pub fn run_limited(
    command: &mut Command,
    limit: u64,
    mut on_line: impl FnMut(&str) -> Result<()>,
) -> Result<Ended> {
    let deadline = Instant::now() + Duration::from_secs(limit);
    let (reader, writer) = io::pipe().context("making a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("a second end of a pipe")?)
        .stderr(writer)
        // So that its children end with it.
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("starting `{}`", command::line(command)))?;
    // The command keeps the pipe's ends otherwise.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, output) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            eprintln!("{line}");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut lines = Vec::new();
    let late = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match output.recv_timeout(left) {
            Ok(line) => {
                on_line(&line)?;
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if late {
        // Of what is left of the group; it may have ended just now.
        let group = i32::try_from(child.id()).context("a process id")?;
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let status = child.wait().context("waiting for a program")?;
    if !late {
        // A panic of the reader is one of this program.
        let _ = reader.join();
    }
    Ok(Ended {
        code: status.code(),
        signal: status.signal(),
        late,
        lines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Ended {
        let mut seen = 0;
        let ended = run_limited(Command::new("sh").args(["-c", script]), limit, |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ended.lines.len());
        ended
    }

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let ended = shell("echo one; echo two >&2; exit 3", 60);
        assert_eq!(ended.lines, ["one", "two"]);
        assert_eq!(ended.reason(), "exit status 3: two");
        assert!(!ended.succeeded());
        assert!(shell("true", 60).succeeded());
    }

    #[test]
    fn what_takes_too_long_is_ended_with_its_children() {
        let ended = shell("sleep 600 & echo $!; wait", 1);
        assert!(ended.late && !ended.succeeded());
        let child: i32 = ended.lines[0].parse().unwrap();
        // Its parent is gone; whoever adopted it reaps it.
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            if stat.is_err() || stat.is_ok_and(|text| text.contains(") Z ")) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{child} still runs");
    }
}
