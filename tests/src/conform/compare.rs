//! Plays scenarios in each state and compares with plain TCP.

use std::{fmt, fs};

use super::{isolate::Report, reach::State, step::Scenario};
use crate::{
    run::{Mode, Run, binary, workload},
    scans,
};

/// Scenarios at a time: most of one's time is waiting to be adopted.
const JOBS: usize = 8;

/// A scenario that answers otherwise than on plain TCP.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The scenario.
    pub scenario: Scenario,
    /// The state.
    pub state: State,
    /// The answers of plain TCP.
    pub plain: Vec<String>,
    /// The answers in the state.
    pub other: Vec<String>,
}

impl Difference {
    /// The difference of two reports, if there is one.
    #[must_use]
    pub fn of(scenario: &Scenario, state: State, plain: &Report, other: &Report) -> Option<Self> {
        let text = |report: &Report| {
            let error = report.error.iter().map(|error| format!("error: {error}"));
            report.transcript.iter().cloned().chain(error).collect()
        };
        let (plain, other): (Vec<_>, Vec<_>) = (text(plain), text(other));
        (plain != other).then(|| Self {
            scenario: scenario.clone(),
            state,
            plain,
            other,
        })
    }

    /// True when plain TCP gives each of these answers too, at once or to a program
    /// that comes `late`. On a host without a CPU to spare any step may come late:
    /// bytes of `MSG_MORE`, for one, are sent 40 to 200 ms later by themselves.
    #[must_use]
    pub fn is_of_time(&self, late: &[String]) -> bool {
        let line = |lines: &[String], at: usize| lines.get(at).cloned();
        self.other.len() == self.plain.len()
            && (0..self.other.len()).all(|at| {
                let answer = line(&self.other, at);
                answer == line(&self.plain, at) || answer == line(late, at)
            })
    }

    /// The number of the first line that differs.
    #[must_use]
    pub fn at(&self) -> usize {
        let same = self.plain.iter().zip(&self.other);
        same.take_while(|(one, other)| one == other).count()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.word();
        writeln!(f, "{}", self.scenario)?;
        let at = self.at();
        for line in &self.plain[..at] {
            writeln!(f, "      both: {line}")?;
        }
        for line in &self.plain[at..] {
            writeln!(f, "     plain: {line}")?;
        }
        for line in &self.other[at..] {
            writeln!(f, "  {state:>8}: {line}")?;
        }
        Ok(())
    }
}

/// Plays scenarios in one state. A ring keeps a whole cgroup off, so those with
/// one have their own.
#[track_caller]
pub fn play(scenarios: &[Scenario], state: State) -> Vec<Report> {
    let (ring, other): (Vec<_>, Vec<_>) = scenarios.iter().partition(|one| one.has_ring());
    let [mut ring, mut other] = [ring, other].map(|part| play_together(&part, state).into_iter());
    let mut next = |one: &Scenario| {
        let reports = if one.has_ring() {
            &mut ring
        } else {
            &mut other
        };
        reports.next().expect("a report each")
    };
    scenarios.iter().map(&mut next).collect()
}

#[track_caller]
fn play_together(scenarios: &[&Scenario], state: State) -> Vec<Report> {
    if scenarios.is_empty() {
        return Vec::new();
    }
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("scenarios");
    let lines: Vec<_> = scenarios.iter().map(ToString::to_string).collect();
    fs::write(&file, lines.join("\n")).expect("the scenarios");
    let mode = match state {
        State::Plain | State::Late => Mode::Plain,
        State::Eager => Mode::Eager,
        State::Adopted | State::Released => Mode::Adopt,
    };
    let command = workload(&format!(
        "scenario --json --jobs {JOBS} --state {} --table {} --file {}",
        state.word(),
        binary().display(),
        file.display()
    ));
    let outcome = Run::new(mode, command).option(scans::OFTEN).success();
    let reports: Vec<_> = outcome
        .finished
        .stdout
        .lines()
        .map(|line| {
            let value = serde_json::from_str(line).expect("a line of JSON");
            Report::from_json(&value).unwrap_or_else(|| panic!("a report: {line}"))
        })
        .collect();
    assert_eq!(reports.len(), scenarios.len(), "reports are missing");
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_plain_tcp_answers_is_of_time() {
        let lines =
            |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        let difference = |other: &[&str]| Difference {
            scenario: "a send 10; b recv 10".parse().expect("a scenario"),
            state: State::Adopted,
            plain: lines(&["10", "EAGAIN"]),
            other: lines(other),
        };
        let late = lines(&["10", "10 exact"]);
        assert!(difference(&["10", "10 exact"]).is_of_time(&late));
        assert!(!difference(&["10", "end of file"]).is_of_time(&late));
        assert!(!difference(&["EAGAIN", "10 exact"]).is_of_time(&late));
        assert!(!difference(&["10"]).is_of_time(&late));
        assert!(!difference(&["10", "10 exact", "still asleep"]).is_of_time(&late));
    }
}
