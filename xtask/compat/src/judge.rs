//! Judges whether a program noticed anything, by its facts beside those of plain runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::facts::{END, Facts, SUCCESS};

/// A fact that an accelerated run found otherwise than every plain run.
#[derive(Clone, Serialize, PartialEq, Eq, Debug)]
pub struct Difference {
    pub fact: String,
    /// The value in plain runs.
    pub plain: String,
    /// The value in accelerated runs, where it differs.
    pub accelerated: String,
    /// In how many of the accelerated runs.
    pub seen: usize,
    pub runs: usize,
    /// The reason, where it is a known difference.
    pub known: Option<&'static str>,
}

/// The word for a fact that a run did not find.
const MISSING: &str = "(not there)";

/// Every fact that differs, over all runs of one side.
///
/// A value that any plain run found too is no difference: such a fact is unsteady by itself.
pub fn differences(
    plain: &[Facts],
    accelerated: &[Facts],
    known: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Difference> {
    let plain = &complete(plain);
    let mut found: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for run in accelerated {
        for name in all_names(plain, run) {
            let value = run.get(name);
            if plain.iter().all(|facts| facts.get(name) != value) {
                let (values, seen) = found.entry(name).or_default();
                values.insert(value.unwrap_or(MISSING));
                *seen += 1;
            }
        }
    }
    found
        .into_iter()
        .map(|(name, (values, seen))| Difference {
            fact: name.to_owned(),
            plain: join(plain.iter().map(|facts| facts.get(name).unwrap_or(MISSING))),
            accelerated: join(values),
            seen,
            runs: accelerated.len(),
            known: known(name),
        })
        .collect()
}

/// The plain runs that came to a good end, or all where none did: one that broke off has few facts,
/// and would excuse every accelerated run that breaks off too.
fn complete(plain: &[Facts]) -> Vec<Facts> {
    let good: Vec<_> = plain
        .iter()
        .filter(|facts| facts.get(END) == Some(SUCCESS))
        .cloned()
        .collect();
    if good.is_empty() {
        plain.to_vec()
    } else {
        good
    }
}

/// True when some plain runs end otherwise than others: then the scenario itself is not sound.
pub fn unsound(plain: &[Facts]) -> bool {
    plain
        .iter()
        .any(|facts| facts.get(END) != plain[0].get(END))
}

/// The facts that plain runs do not agree on.
pub fn unsteady(plain: &[Facts]) -> Vec<String> {
    let plain = &complete(plain);
    let Some((first, others)) = plain.split_first() else {
        return Vec::new();
    };
    all_names(plain, first)
        .into_iter()
        .filter(|name| {
            others
                .iter()
                .any(|facts| facts.get(name) != first.get(name))
        })
        .map(str::to_owned)
        .collect()
}

fn all_names<'a>(plain: &'a [Facts], run: &'a Facts) -> BTreeSet<&'a str> {
    plain.iter().chain([run]).flat_map(Facts::names).collect()
}

fn join<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let different: BTreeSet<_> = values.into_iter().collect();
    different.into_iter().collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        for (name, value) in pairs {
            facts.set(name, value);
        }
        facts
    }

    fn judged(plain: &[Facts], accelerated: &[Facts]) -> Vec<Difference> {
        differences(plain, accelerated, |_| None)
    }

    #[test]
    fn equal_facts_are_equal() {
        let one = facts(&[("a", "ok"), ("b", "ok")]);
        assert_eq!(
            judged(std::slice::from_ref(&one), std::slice::from_ref(&one)),
            []
        );
    }

    #[test]
    fn another_value_and_a_missing_fact_differ() {
        let plain = facts(&[("a", "ok"), ("b", "ok"), ("c", "ok")]);
        let other = facts(&[("a", "failed"), ("b", "ok"), ("d", "ok")]);
        let found = judged(&[plain], &[other]);
        let names: Vec<_> = found.iter().map(|one| one.fact.as_str()).collect();
        assert_eq!(names, ["a", "c", "d"]);
        assert_eq!(found[0].accelerated, "failed");
        assert_eq!(found[1].accelerated, MISSING);
        assert_eq!(found[2].plain, MISSING);
    }

    #[test]
    fn what_plain_shows_too_is_unsteady_and_no_difference() {
        let plain = [facts(&[("a", "ok")]), facts(&[("a", "failed")])];
        assert_eq!(judged(&plain, &[facts(&[("a", "failed")])]), []);
        assert_eq!(unsteady(&plain), ["a"]);
        assert_eq!(judged(&plain, &[facts(&[("a", "hangs")])]).len(), 1);
    }

    #[test]
    fn a_plain_run_that_broke_off_excuses_nothing() {
        let plain = [
            facts(&[("a", "ok"), (END, SUCCESS)]),
            facts(&[(END, "status 1")]),
        ];
        let found = judged(&plain, &[facts(&[(END, "status 1")])]);
        assert_eq!(found.len(), 2);
        assert!(unsound(&plain));
        assert!(!unsound(&plain[..1]));
        assert!(unsteady(&plain).is_empty());
    }

    #[test]
    fn once_in_three_runs_is_a_difference() {
        let plain = facts(&[("a", "ok")]);
        let runs = [
            facts(&[("a", "ok")]),
            facts(&[("a", "failed")]),
            facts(&[("a", "ok")]),
        ];
        let found = judged(&[plain], &runs);
        assert_eq!((found[0].seen, found[0].runs), (1, 3));
    }

    #[test]
    fn a_known_difference_has_its_reason() {
        let found = differences(
            &[facts(&[("a", "ok")])],
            &[facts(&[("a", "failed")])],
            |name| (name == "a").then_some("reason"),
        );
        assert_eq!(found[0].known, Some("reason"));
    }
}
