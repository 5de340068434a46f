//! Comparing traces of plain and accelerated runs.

use std::collections::BTreeMap;

use crate::{
    run::{Mode, redirected, workload},
    session::Session,
};

/// A case whose answers are allowed to differ, with the reason.
pub type Excuse = (&'static str, &'static str);

/// Compares non-blocking traces of a group of cases; in adopt mode after a
/// warm-up in which the connections are adopted.
pub fn compare(mode: Mode, group: &str, excuses: &[Excuse]) {
    let warm = if mode == Mode::Adopt {
        "--warm-rounds 750"
    } else {
        ""
    };
    differing(mode, &format!("--group {group} {warm}"), excuses);
}

/// Compares traces with blocking sockets, which only eager mode enrols.
pub fn compare_blocking(group: &str, excuses: &[Excuse]) {
    differing(Mode::Eager, &format!("--blocking --group {group}"), excuses);
}

#[track_caller]
fn differing(mode: Mode, args: &str, excuses: &[Excuse]) {
    let _session = Session::start();
    let trace = |mode| {
        let pace = if mode == Mode::Adopt {
            ""
        } else {
            "--warm-rate 100000"
        };
        redirected(mode, &workload(&format!("trace {args} {pace}")))
    };
    let plain = lines(&trace(Mode::Plain).finished.stdout);
    let outcome = trace(mode);
    assert!(
        outcome.summary().fast_bytes() > 0,
        "nothing was redirected: {}",
        outcome.summary()
    );
    // A peer that has just closed is a miss, which the stack carries.
    let mut errors = outcome.summary().counts("/errors");
    errors.remove("redirect_missed");
    assert!(errors.is_empty(), "errors: {}", outcome.summary());
    let fast = lines(&outcome.finished.stdout);
    assert_eq!(
        plain.keys().collect::<Vec<_>>(),
        fast.keys().collect::<Vec<_>>()
    );
    let mut differences = Vec::new();
    for (case, answers) in &plain {
        assert!(!answers.contains("WRONG"), "plain TCP: {case}: {answers}");
        let other = &fast[case];
        let known = excuses.iter().any(|(name, _)| case.starts_with(name));
        if other != answers && !known {
            differences.push(format!("{case}\n  plain: {answers}\n  {mode}: {other}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{args}: {} differ\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Case and end, and what each call answered.
fn lines(text: &str) -> BTreeMap<String, String> {
    let split = |line: &str| {
        line.split_once(": ")
            .map(|(case, answers)| (case.to_owned(), answers.to_owned()))
    };
    text.lines().filter_map(split).collect()
}
