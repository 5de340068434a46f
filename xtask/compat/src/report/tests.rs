use std::time::Duration;

use test_support::summary::ByPath;

use super::*;
use crate::program::{EAGER, Known, SUPPORT};

static PROGRAM: Program = Program {
    name: "one",
    what: "something",
    packages: &[],
    prepare: None,
    files: &[("main.py", ""), SUPPORT],
    arguments: &[],
    short: None,
    limit: Duration::from_secs(1),
    known: &[Known {
        fact: "urgent",
        reason: "the reason",
        sides: EAGER,
    }],
};

fn finished(pairs: &[(&str, &str)]) -> Finished {
    let mut facts = Facts::default();
    for (name, value) in pairs {
        facts.set(name, value);
    }
    let bytes = ByPath { fast: 1, stack: 3 };
    Finished {
        facts,
        summary: Some(Summary {
            bytes,
            ..Summary::default()
        }),
        took: Duration::ZERO,
        tail: String::new(),
    }
}

/// A report on a run of each side.
fn report(plain: &[&[(&str, &str)]], adopt: &[(&str, &str)], eager: &[(&str, &str)]) -> Report {
    let mut runs = Runs::default();
    for facts in plain {
        runs.add(Side::Plain, finished(facts));
    }
    runs.add(Side::Adopt, finished(adopt));
    runs.add(Side::Eager, finished(eager));
    let mut report = Report::default();
    report.add(Row::new(&PROGRAM, &runs));
    report
}

const GOOD: &[(&str, &str)] = &[("test", "ok"), ("urgent", "ok"), (END, SUCCESS)];
const WITHOUT_URGENT: &[(&str, &str)] = &[("test", "ok"), ("urgent", "failed"), (END, SUCCESS)];
const BAD: &[(&str, &str)] = &[("test", "failed"), ("urgent", "ok"), (END, SUCCESS)];

#[test]
fn equal_runs_pass() {
    let report = report(&[GOOD], GOOD, GOOD);
    assert!(report.check().is_ok());
    let text = report.text(Style::plain());
    assert!(text.contains("25.0%"), "{text}");
    assert!(text.contains("equal"), "{text}");
}

#[test]
fn a_difference_fails_in_either_mode() {
    assert!(report(&[GOOD], BAD, GOOD).check().is_err());
    assert!(report(&[GOOD], GOOD, BAD).check().is_err());
    let text = report(&[GOOD], BAD, GOOD).text(Style::plain());
    assert!(
        text.contains("one adopt: test: plain ok, here failed"),
        "{text}"
    );
}

#[test]
fn what_is_known_is_told_and_passes_in_eager_mode_alone() {
    let eager = report(&[GOOD], GOOD, WITHOUT_URGENT);
    assert!(eager.check().is_ok());
    let text = eager.text(Style::plain());
    assert!(text.contains("known: the reason"), "{text}");
    assert!(report(&[GOOD], WITHOUT_URGENT, GOOD).check().is_err());
}

#[test]
fn plain_runs_that_end_differently_fail() {
    let broken: &[(&str, &str)] = &[(END, "status 1")];
    assert!(report(&[GOOD, broken], GOOD, GOOD).check().is_err());
}

#[test]
fn a_leftover_fails() {
    let mut report = report(&[GOOD], GOOD, GOOD);
    report.leftovers.push(String::from("loaded: program 7"));
    assert!(report.check().is_err());
}
