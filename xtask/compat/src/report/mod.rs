//! The report in the end: a line for each program, then every difference.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use test_support::summary::Summary;
use xtask::progress::Style;

use super::{
    facts::{END, Facts, SUCCESS},
    judge::{self, Difference},
    program::{Program, Side},
    sandbox::Finished,
};

/// Known differences that are shown of each program; `--json` has all.
const KNOWN_SHOWN: usize = 3;

/// The runs of one program.
#[derive(Default)]
pub struct Runs {
    pub plain: Vec<Facts>,
    adopt: Accelerated,
    eager: Accelerated,
}

#[derive(Default)]
struct Accelerated {
    facts: Vec<Facts>,
    summary: Summary,
}

/// One line.
#[derive(Serialize)]
pub struct Row {
    program: &'static str,
    what: &'static str,
    /// Facts of the first plain run.
    results: usize,
    /// The end of the first plain run.
    plain: String,
    /// Facts that plain runs do not agree on.
    unsteady: Vec<String>,
    adopt: Option<Compared>,
    eager: Option<Compared>,
    left_out: Option<String>,
    likeness: Likeness,
}

/// One mode beside plain.
#[derive(Serialize)]
struct Compared {
    runs: usize,
    /// Share of the payload that went the fast way, 0 to 1.
    fast_share: f64,
    summary: Summary,
    differences: Vec<Difference>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
enum Likeness {
    Equal,
    /// Equal in adopt mode; eager differs as is known.
    Known,
    Differs,
    /// Plain runs do not end alike.
    Unsound,
    /// It could not be run.
    LeftOut,
}

#[derive(Default, Serialize)]
pub struct Report {
    programs: Vec<Row>,
    pub leftovers: Vec<String>,
}

impl Runs {
    pub fn add(&mut self, side: Side, finished: Finished) {
        let accelerated = match side {
            Side::Plain => return self.plain.push(finished.facts),
            Side::Adopt => &mut self.adopt,
            Side::Eager => &mut self.eager,
        };
        accelerated.facts.push(finished.facts);
        if let Some(summary) = finished.summary {
            accelerated.summary += summary;
        }
    }

    fn of(&self, side: Side) -> &Accelerated {
        match side {
            Side::Plain | Side::Adopt => &self.adopt,
            Side::Eager => &self.eager,
        }
    }

    fn differences(&self, program: &Program, side: Side) -> Vec<Difference> {
        judge::differences(&self.plain, &self.of(side).facts, |fact| {
            program.known(side, fact)
        })
    }

    /// The differences that no reason is known for.
    pub fn unknown(&self, program: &Program, side: Side) -> Vec<Difference> {
        let mut differences = self.differences(program, side);
        differences.retain(|difference| difference.known.is_none());
        differences
    }

    fn compared(&self, program: &Program, side: Side) -> Option<Compared> {
        let accelerated = self.of(side);
        (!accelerated.facts.is_empty()).then(|| Compared {
            runs: accelerated.facts.len(),
            fast_share: accelerated.summary.bytes.fast_share(),
            summary: accelerated.summary.clone(),
            differences: self.differences(program, side),
        })
    }
}

impl Compared {
    /// Every difference that is not known; of the known ones the first few.
    fn tell(&self, name: &str, text: &mut String) {
        let (known, unknown): (Vec<_>, Vec<_>) = self
            .differences
            .iter()
            .partition(|difference| difference.known.is_some());
        for one in unknown.iter().chain(known.iter().take(KNOWN_SHOWN)) {
            let reason = one
                .known
                .map_or_else(String::new, |reason| format!("; known: {reason}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name}: {}: plain {}, here {} ({} of {} runs){reason}",
                one.fact, one.plain, one.accelerated, one.seen, one.runs
            );
        }
        if known.len() > KNOWN_SHOWN {
            let _ = writeln!(
                text,
                "{name}: and {} more known ones",
                known.len() - KNOWN_SHOWN
            );
        }
    }
}

impl Row {
    pub fn new(program: &'static Program, runs: &Runs) -> Self {
        let adopt = runs.compared(program, Side::Adopt);
        let eager = runs.compared(program, Side::Eager);
        let all = || {
            let both = adopt.iter().chain(&eager);
            both.flat_map(|side| &side.differences)
        };
        let first = runs.plain.first();
        let plain = first.and_then(|facts| facts.get(END)).unwrap_or_default();
        let likeness = if all().any(|one| one.known.is_none()) {
            Likeness::Differs
        } else if judge::unsound(&runs.plain) {
            Likeness::Unsound
        } else if first.is_none_or(|facts| facts.len() <= 1) {
            // Nothing was found, so nothing was compared.
            Likeness::LeftOut
        } else if all().next().is_some() {
            Likeness::Known
        } else {
            Likeness::Equal
        };
        Self {
            program: program.name,
            what: program.what,
            results: first.map_or(0, |facts| facts.len() - 1),
            plain: plain.to_owned(),
            unsteady: judge::unsteady(&runs.plain),
            adopt,
            eager,
            left_out: None,
            likeness,
        }
    }

    pub fn left_out(program: &'static Program, reason: String) -> Self {
        Self {
            program: program.name,
            what: program.what,
            results: 0,
            plain: String::new(),
            unsteady: Vec::new(),
            adopt: None,
            eager: None,
            left_out: Some(reason),
            likeness: Likeness::LeftOut,
        }
    }

    pub fn line(&self) -> String {
        let share = |side: &Option<Compared>| {
            side.as_ref().map_or_else(
                || String::from("-"),
                |side| format!("{:.1}%", side.fast_share * 100.0),
            )
        };
        format!(
            "{:<18} {:<46} {:>5} {:>10} {:>10} {:>7} {:>7}  {}",
            self.program,
            self.what,
            self.results,
            cell(self.adopt.as_ref()),
            cell(self.eager.as_ref()),
            share(&self.adopt),
            share(&self.eager),
            self.likeness_text()
        )
    }

    fn likeness_text(&self) -> String {
        let mut text = match self.likeness {
            Likeness::Equal => String::from("equal"),
            Likeness::Known => String::from("adopt equal, eager as known"),
            Likeness::Differs => String::from("DIFFERS"),
            Likeness::Unsound => String::from("UNSOUND: plain runs do not end alike"),
            Likeness::LeftOut => {
                format!(
                    "left out: {}",
                    self.left_out.as_deref().unwrap_or("no results")
                )
            }
        };
        if !self.unsteady.is_empty() {
            let _ = write!(text, "; {} unsteady plain too", self.unsteady.len());
        }
        if self.left_out.is_none() && self.plain != SUCCESS {
            let _ = write!(text, "; plain ends with {}", self.plain);
        }
        text
    }
}

fn cell(side: Option<&Compared>) -> String {
    match side {
        None => String::from("-"),
        Some(side) if side.differences.is_empty() => String::from("equal"),
        Some(side) => format!("{} differ", side.differences.len()),
    }
}

/// The heading of the lines that `Row::line` makes.
fn heading() -> String {
    format!(
        "{:<18} {:<46} {:>5} {:>10} {:>10} {:>7} {:>7}  {}",
        "program", "what", "plain", "adopt", "eager", "fast,a", "fast,e", "likeness"
    )
}

pub fn list(programs: &[&Program]) -> String {
    let mut text = String::new();
    for program in programs {
        let short = if program.short.is_some() {
            "  (short)"
        } else {
            ""
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<18} {}{short}", program.name, program.what);
    }
    text
}

impl Report {
    pub fn add(&mut self, row: Row) {
        self.programs.push(row);
    }

    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("putting the report into JSON")
    }

    pub fn text(&self, style: Style) -> String {
        let mut text = format!("\n{}\n", style.bold(&heading()));
        for row in &self.programs {
            let line = row.line();
            let line = match row.likeness {
                Likeness::Differs | Likeness::Unsound => style.red(&line),
                Likeness::Equal | Likeness::Known | Likeness::LeftOut => line,
            };
            let _ = writeln!(text, "{line}");
        }
        text.push_str(
            "(plain: results of a plain run; fast: share of the payload in adopt and in eager mode)\n",
        );
        for row in &self.programs {
            for (word, side) in [("adopt", &row.adopt), ("eager", &row.eager)] {
                if let Some(side) = side {
                    side.tell(&format!("{} {word}", row.program), &mut text);
                }
            }
            for fact in &row.unsteady {
                let _ = writeln!(text, "{} plain: {fact} is unsteady", row.program);
            }
        }
        text
    }

    pub fn check(&self) -> Result<()> {
        let different: Vec<_> = self
            .programs
            .iter()
            .filter(|row| matches!(row.likeness, Likeness::Differs | Likeness::Unsound))
            .map(|row| row.program)
            .collect();
        if !different.is_empty() {
            bail!("not as on plain TCP: {}", different.join(", "));
        }
        if !self.leftovers.is_empty() {
            bail!("left behind: {}", self.leftovers.join("; "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
