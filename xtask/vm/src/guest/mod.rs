//! Inside the machine: this program runs each check and says on standard output, which is a serial
//! port, how it ended. What checked programs print goes to the console, which is a log outside.

mod features;
mod limited;
mod look;
mod nfs;

use std::{fs, io::Write as _, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use test_support::summary::{ByPath, Summary};

use self::limited::{Ended, run_limited};
use super::{
    checks,
    programs::RELEASE,
    report::{Check, Event, Outcome},
};

/// The end of a check, and what was seen.
type Seen = (Outcome, String);

/// Reads what `exec --summary` wrote.
fn summary(file: &Path) -> Result<Summary> {
    let text = fs::read_to_string(file).context("reading the summary")?;
    serde_json::from_str(&text).context("reading the summary")
}

/// The beginning of a refusal (socketvirt/src/datapath/selftest.rs).
const REFUSAL: &str = "nothing is accelerated";

/// The beginning of a line by which a test says what it saw.
const SAYS: &str = "seen: ";

/// A program for `exec` inside the machine.
pub use nfs::ask;

pub fn run() -> Result<()> {
    say(&Event::Features(features::collect()))?;
    check("table", checks::TABLE_LIMIT, |_| look::table())?;
    check("doctor", checks::DOCTOR_LIMIT, doctor)?;
    let mut accelerates = false;
    for mode in ["adopt", "eager"] {
        let outcome = check(
            &format!("exec --mode {mode}"),
            3 * checks::EXEC_LIMIT,
            |_| exec(mode),
        )?;
        accelerates |= outcome == Outcome::Works;
    }
    if accelerates {
        check("the kernel's own sockets", checks::EXEC_LIMIT, |_| {
            nfs::left_alone()
        })?;
    }
    for tests in checks::TESTS {
        let program = Path::new(RELEASE).join("deps").join(tests.program);
        if !program.exists() {
            // Not asked for.
            continue;
        }
        let name = format!("test {}", tests.program);
        check(&name, checks::TESTS_LIMIT, |limit| {
            if tests.accelerated && !accelerates {
                return Ok((Outcome::Skipped, "nothing is accelerated here".into()));
            }
            if tests.program == "namespaces" && !Path::new("/sys/module/veth").exists() {
                return Ok((Outcome::Skipped, "this kernel has no veth here".into()));
            }
            test(&program, tests.filters, limit)
        })?;
    }
    check("kernel log", 30, |_| features::kernel_log())?;
    say(&Event::Done)
}

/// One line, whole: the reader takes nothing else.
fn say(event: &Event) -> Result<()> {
    let mut line = serde_json::to_string(event).context("putting an event into JSON")?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .context("writing to the serial port")
}

fn check(name: &str, limit: u64, body: impl FnOnce(u64) -> Result<Seen>) -> Result<Outcome> {
    say(&Event::Begin {
        name: name.to_owned(),
        limit,
    })?;
    eprintln!("== {name}");
    let start = Instant::now();
    let (outcome, detail) = body(limit).unwrap_or_else(|error| {
        // A check that cannot be done has found something too.
        (Outcome::Failed, format!("{error:#}"))
    });
    say(&Event::End(Check {
        name: name.to_owned(),
        outcome,
        detail,
        seconds: start.elapsed().as_secs_f64(),
    }))?;
    Ok(outcome)
}

/// The binary under test.
fn socketvirt() -> Command {
    Command::new(Path::new(RELEASE).join("socketvirt"))
}

/// The part of `doctor --json` that is looked at.
#[derive(Deserialize)]
struct Diagnosis {
    advisable: bool,
    recommendation: Advice,
}

#[derive(Deserialize)]
struct Advice {
    mode: String,
    eager: String,
    reasons: Vec<String>,
}

/// Its judgement of the kernel, where the binary has the command.
fn doctor(limit: u64) -> Result<Seen> {
    let known = run_limited(socketvirt().args(["doctor", "--help"]), 30, |_| Ok(()))?;
    if !known.succeeded() {
        return Ok((Outcome::Skipped, "this binary has no doctor".into()));
    }
    let ended = run_limited(socketvirt().args(["doctor", "--json"]), limit, |_| Ok(()))?;
    if ended.late {
        return Ok((Outcome::Failed, ended.reason()));
    }
    // It ends with 1 where it advises against acceleration, and where it could not look.
    let report = ended.lines.iter().skip_while(|line| !line.starts_with('{'));
    let report = report.map(String::as_str).collect::<Vec<_>>().join("\n");
    let Ok(Diagnosis {
        advisable,
        recommendation,
    }) = serde_json::from_str(&report)
    else {
        return Ok((Outcome::Failed, ended.reason()));
    };
    let Advice {
        mode,
        eager,
        reasons,
    } = recommendation;
    let outcome = if advisable {
        Outcome::Works
    } else {
        Outcome::Refused
    };
    let mut detail = format!("recommends {mode} (eager: {eager})");
    if !advisable {
        detail = format!("{detail}: {}", reasons.join("; "));
    }
    Ok((outcome, detail))
}

/// The workload below `exec`, every byte checked by itself.
///
/// Adoption takes a time that depends on the scans, so one of three runs has to be
/// accelerated, and all of them have to be right.
fn exec(mode: &str) -> Result<Seen> {
    const TRIES: u32 = 3;
    let file = Path::new("/tmp/summary.json");
    for left in (0..TRIES).rev() {
        let mut command = socketvirt();
        command
            .args(["exec", "--mode", mode, "--summary"])
            .arg(file)
            .arg("--")
            .arg(Path::new(RELEASE).join("workload"))
            .args(checks::WORKLOAD.split_whitespace());
        let ended = run_limited(&mut command, checks::EXEC_LIMIT, |_| Ok(()))?;
        if !ended.succeeded() {
            return Ok((Outcome::Failed, ended.reason()));
        }
        let summary = summary(file)?;
        if summary.adopted > 0 && summary.bytes.fast > 0 {
            let ByPath { fast, stack } = summary.bytes;
            let detail = format!(
                "receive mode {}, contents exact, {} pairs enrolled, {fast} bytes fast, {stack} by the stack",
                summary.receive_mode, summary.adopted
            );
            return Ok((Outcome::Works, detail));
        }
        if let Some(line) = ended.lines.iter().find(|line| line.contains(REFUSAL)) {
            let line = line.trim_start_matches("socketvirt: ");
            return Ok((Outcome::Refused, format!("{line} (contents exact)")));
        }
        if left == 0 {
            let modes = format!("receive mode {}", summary.receive_mode);
            return Ok((Outcome::Failed, format!("nothing went fast, {modes}")));
        }
    }
    Ok((Outcome::Failed, "never tried".into()))
}

/// Integration tests, one after another.
fn test(program: &Path, filters: &[&str], limit: u64) -> Result<Seen> {
    let mut command = Command::new(program);
    command
        .args(filters)
        .args(["--test-threads=1", "--show-output"]);
    let ended = run_limited(&mut command, limit, |line| {
        let done = line.starts_with("test ") && !line.starts_with("test result");
        if done {
            say(&Event::Line(line.to_owned()))?;
        }
        Ok(())
    })?;
    if ended.late {
        return Ok((
            Outcome::Failed,
            format!("{}, after {}", ended.reason(), ended.last_line()),
        ));
    }
    let result = ended
        .lines
        .iter()
        .rfind(|line| line.starts_with("test result"))
        .map_or_else(|| ended.reason(), |line| counts(line));
    // Lines by which a test says what it saw.
    let said: Vec<_> = ended
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix(SAYS))
        .collect();
    let result = [&[result.as_str()], said.as_slice()].concat().join("; ");
    let failed: Vec<_> = failed_tests(&ended).collect();
    if ended.succeeded() {
        return Ok((Outcome::Works, result));
    }
    Ok((
        Outcome::Failed,
        format!("{result}; failed: {}", failed.join(", ")),
    ))
}

/// `test result: ok. 6 passed; 0 failed; ...` without its beginning and zeros.
fn counts(line: &str) -> String {
    let parts = line.split(['.', ';']).map(str::trim);
    let counts: Vec<_> = parts
        .filter(|part| {
            part.starts_with(|first: char| first.is_ascii_digit())
                && !part.starts_with("0 ")
                && (part.ends_with("passed") || part.ends_with("failed"))
        })
        .collect();
    counts.join(", ")
}

fn failed_tests(ended: &Ended) -> impl Iterator<Item = &str> {
    ended
        .lines
        .iter()
        .filter(|line| line.starts_with("test ") && line.ends_with("FAILED"))
        .filter_map(|line| line.split(' ').nth(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_tests_are_read() {
        assert_eq!(
            counts(
                "test result: ok. 6 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
                 finished in 67.89s"
            ),
            "6 passed"
        );
        assert_eq!(
            counts("test result: FAILED. 5 passed; 1 failed; 0 ignored; 3 filtered out"),
            "5 passed, 1 failed"
        );
    }
}
