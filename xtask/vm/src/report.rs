//! The findings of a machine: events on their way out of it, then the table for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use xtask::progress::Style;

/// The end of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As on any other kernel.
    Works,
    /// socketvirt keeps its hands off and says why, and nothing broke.
    Refused,
    /// Not tried, because of what another check found.
    Skipped,
    /// Not as it must be.
    Failed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Failed => "FAILED",
        }
    }
}

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The name of the check.
    pub name: String,
    /// Its end.
    pub outcome: Outcome,
    /// The detail, in a line.
    pub detail: String,
    /// The seconds that it took, inside.
    pub seconds: f64,
}

/// An event that the machine tells over its serial port, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The features of this kernel, by name.
    Features(Vec<(String, String)>),
    /// A check starts.
    Begin {
        /// Its name.
        name: String,
        /// The seconds that it may take.
        limit: u64,
    },
    /// Something within the check.
    Line(String),
    /// A check has ended.
    End(Check),
    /// All have.
    Done,
}

/// All about one kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Debian's version, or a file's name.
    pub kernel: String,
    /// The features that the kernel tells of itself.
    pub features: Vec<(String, String)>,
    /// In the order in which they ran.
    pub checks: Vec<Check>,
}

impl Report {
    pub fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            features: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// True when anything is not as it must be.
    pub fn failed(&self) -> bool {
        self.checks.is_empty()
            || self
                .checks
                .iter()
                .any(|check| check.outcome == Outcome::Failed)
    }

    /// A check that the machine could not report itself.
    pub fn add_failure(&mut self, name: &str, detail: String) {
        self.checks.push(Check {
            name: name.to_owned(),
            outcome: Outcome::Failed,
            detail,
            seconds: 0.0,
        });
    }

    /// The table for people.
    pub fn text(&self, style: Style) -> String {
        let mut text = style.bold(&format!("Linux {}", self.kernel));
        text.push('\n');
        for (name, value) in &self.features {
            let _ = writeln!(text, "  {name:<16} {value}");
        }
        text.push('\n');
        let width = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let word = format!("{:<8}", check.outcome.word());
            let word = match check.outcome {
                Outcome::Works => style.green(&word),
                Outcome::Failed => style.red(&word),
                Outcome::Refused | Outcome::Skipped => style.bold(&word),
            };
            let _ = writeln!(
                text,
                "  {:<width$}  {word} {:>6.1} s  {}",
                check.name, check.seconds, check.detail
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Outcome) -> Check {
        Check {
            name: "exec --mode adopt".into(),
            outcome,
            detail: "nothing is accelerated".into(),
            seconds: 3.25,
        }
    }

    #[test]
    fn a_refusal_is_no_failure_but_silence_is() {
        let mut report = Report::new("6.1.192-2");
        assert!(report.failed());
        report.checks.push(check(Outcome::Refused));
        assert!(!report.failed());
        report.checks.push(check(Outcome::Failed));
        assert!(report.failed());
    }

    #[test]
    fn a_row_shows_result_time_and_reason() {
        let mut report = Report::new("6.1.192-2");
        report.features.push(("release".into(), "6.1.0-56".into()));
        report.checks.push(check(Outcome::Refused));
        assert_eq!(
            report.text(Style::plain()),
            "Linux 6.1.192-2\n  release          6.1.0-56\n\n  \
             exec --mode adopt  refused     3.2 s  nothing is accelerated\n"
        );
    }

    #[test]
    fn events_are_lines_that_come_back_whole() {
        let event = Event::End(check(Outcome::Works));
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
