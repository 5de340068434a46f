//! Every scenario runs in a process of its own: its signals, threads and forks
//! are its own, and one that hangs does not keep the others from running.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, killpg},
        wait::{WaitStatus, wait},
    },
    unistd::{ForkResult, Pid, alarm, fork, setpgid},
};
use serde_json::{Value, json};

use super::{
    play::{self, Played},
    reach::{self, State},
    step::Scenario,
};

/// Seconds after which a scenario hangs before its state is reached, which has
/// a bound of its own that is smaller.
const HANGS: u32 = 20 * 60;

/// The report of a scenario's process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A line a step.
    pub transcript: Vec<String>,
    /// The reason that the connection was kept on the stack.
    pub kept_off: Option<String>,
    /// Bytes that were redirected.
    pub fast: u64,
    /// The scenario could not be played.
    pub error: Option<String>,
}

impl Report {
    /// As one line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "transcript": self.transcript,
            "kept_off": self.kept_off,
            "fast": self.fast,
            "error": self.error,
        })
    }

    /// From a line.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lines = value["transcript"].as_array()?;
        Some(Self {
            transcript: lines.iter().filter_map(text).collect(),
            kept_off: text(&value["kept_off"]),
            fast: value["fast"].as_u64()?,
            error: text(&value["error"]),
        })
    }
}

/// A scenario at work.
struct Child {
    index: usize,
    output: File,
}

/// Plays scenarios, `jobs` at a time, and hands over the reports in order.
///
/// # Errors
/// When a process cannot be made.
pub fn play_all(
    scenarios: &[Scenario],
    state: State,
    table: Option<&str>,
    jobs: usize,
) -> Result<Vec<Report>> {
    let _stamps = reach::stamped()?;
    let mut reports = vec![Report::default(); scenarios.len()];
    let mut running: BTreeMap<Pid, Child> = BTreeMap::new();
    let mut waiting = scenarios.iter().enumerate();
    loop {
        while running.len() < jobs
            && let Some((index, scenario)) = waiting.next()
        {
            let (pid, child) = start(index, scenario, state, table)?;
            running.insert(pid, child);
        }
        if running.is_empty() {
            return Ok(reports);
        }
        let status = wait().context("wait for a scenario")?;
        let Some(pid) = status.pid() else { continue };
        // Its forks must not outlive it.
        let _ = killpg(pid, Signal::SIGKILL);
        let Some(mut child) = running.remove(&pid) else {
            continue;
        };
        reports[child.index] = report(&mut child.output, status)?;
    }
}

fn start(
    index: usize,
    scenario: &Scenario,
    state: State,
    table: Option<&str>,
) -> Result<(Pid, Child)> {
    let output = File::from(memfd_create("report", MFdFlags::MFD_CLOEXEC).context("memfd")?);
    // SAFETY: this process has no other thread, so the child may do anything.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            alarm::set(HANGS);
            tell(scenario, state, table, &output);
            // SAFETY: ends the child without running what the parent will.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            // Whichever of the two is first; the other fails.
            let _ = setpgid(child, child);
            Ok((child, Child { index, output }))
        }
    }
}

/// Plays in the child, and leaves every line where the parent finds it.
fn tell(scenario: &Scenario, state: State, table: Option<&str>, mut output: &File) {
    let mut line = |text: &str| {
        let _ = writeln!(output, "L{text}");
    };
    let outcome = play::play(scenario, state, table, &mut line);
    let text = match outcome {
        Ok(Played { kept_off, fast, .. }) => {
            let reason = kept_off.map_or_else(String::new, |reason| format!("K{reason}\n"));
            format!("{reason}F{fast}\n")
        }
        Err(error) => format!("E{error:#}\n"),
    };
    let _ = output.write_all(text.as_bytes());
}

fn report(output: &mut File, status: WaitStatus) -> Result<Report> {
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).context("a report")?;
    output.read_to_string(&mut text).context("a report")?;
    let mut report = Report::default();
    for line in text.lines() {
        let (kind, rest) = line.split_at(1);
        match kind {
            "L" => report.transcript.push(rest.to_owned()),
            "K" => report.kept_off = Some(rest.to_owned()),
            "F" => report.fast = rest.parse().context("a count")?,
            "E" => report.error = Some(rest.to_owned()),
            _ => bail!("a report with {line:?}"),
        }
    }
    match status {
        WaitStatus::Exited(_, 0) => {}
        WaitStatus::Signaled(_, Signal::SIGALRM, _) => report.transcript.push("HANGS".to_owned()),
        other => report.error = Some(format!("{other:?}")),
    }
    Ok(report)
}
