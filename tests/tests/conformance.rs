//! Scenarios of socket calls answer the same in every state as on plain TCP.
//!
//! `SOCKETVIRT_TEST_SCALE` multiplies the random scenarios,
//! `SOCKETVIRT_TEST_SEED` chooses others.

use std::collections::{BTreeMap, BTreeSet};

use socketvirt_tests::{
    conform::{
        compare::{Difference, play},
        excuses::{self, EXCUSES, Excuse},
        generate,
        isolate::Report,
        reach::State,
        shrink,
        step::Scenario,
        suite,
    },
    scaled,
    session::Session,
};

/// Random scenarios of every change.
const RANDOM: u32 = 200;

/// Random scenarios at a time.
const BATCH: usize = 400;

/// Times that a difference is played again, to tell a rare one from one of
/// plain TCP itself.
const AGAIN: usize = 4;

/// Says how many scenarios ran fast, were kept off, and why.
fn tell(state: State, reports: &[Report]) -> usize {
    let fast = reports.iter().filter(|report| report.fast > 0).count();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reports
        .iter()
        .filter_map(|report| report.kept_off.as_deref())
    {
        *reasons.entry(reason).or_default() += 1;
    }
    println!(
        "{}: {} scenarios, {fast} with redirected bytes, kept off: {reasons:?}",
        state.word(),
        reports.len()
    );
    fast
}

/// A suite in which nothing is enrolled shows nothing.
fn assert_enrolled(state: State, reports: &[Report]) {
    let fast = tell(state, reports);
    if state != State::Released {
        assert!(
            fast * 2 > reports.len(),
            "{}: only {fast} of {} scenarios were redirected",
            state.word(),
            reports.len()
        );
        return;
    }
    let reached = reports.iter().filter(|one| one.kept_off.is_none()).count();
    assert!(
        reached * 2 > reports.len() && fast * 10 < reports.len(),
        "released: {reached} of {} were, and {fast} were adopted again",
        reports.len()
    );
}

#[track_caller]
fn fixed_scenarios(state: State) {
    let _session = Session::beside_others();
    let named: Vec<_> = suite::all().collect();
    let scenarios: Vec<Scenario> = named
        .iter()
        .map(|(name, text)| text.parse().unwrap_or_else(|e| panic!("{name}: {e:#}")))
        .collect();
    let plain = play(&scenarios, State::Plain);
    for ((name, _), report) in named.iter().zip(&plain) {
        assert!(report.error.is_none(), "{name} on plain TCP: {report:?}");
    }
    let mut unknown = Vec::new();
    let mut seen = BTreeSet::new();
    let reports = play(&scenarios, state);
    assert_enrolled(state, &reports);
    for (at, (name, _)) in named.iter().enumerate() {
        let Some(difference) = Difference::of(&scenarios[at], state, &plain[at], &reports[at])
        else {
            continue;
        };
        let mut excused = excuses::of(&difference).peekable();
        if excused.peek().is_none()
            && let Some(found) = again(&difference)
        {
            unknown.push(format!("{name}: {found}"));
        }
        seen.extend(excused.map(|one| one.difference.name));
    }
    assert!(
        unknown.is_empty(),
        "{} differ from plain TCP\n{}",
        unknown.len(),
        unknown.join("\n")
    );
    for excuse in EXCUSES.iter().filter(|one| one.states.contains(&state)) {
        assert!(
            seen.contains(excuse.difference.name) || occurs(excuse, state),
            "the excuse {:?} is not needed any more in the state {}",
            excuse.difference.name,
            state.word()
        );
    }
}

#[test]
fn fixed_scenarios_eager() {
    fixed_scenarios(State::Eager);
}

#[test]
fn fixed_scenarios_adopted() {
    fixed_scenarios(State::Adopted);
}

#[test]
fn fixed_scenarios_released() {
    fixed_scenarios(State::Released);
}

/// True when an excuse occurs in its scenario. A scan may have spoilt the
/// first time.
fn occurs(excuse: &Excuse, state: State) -> bool {
    let scenario = suite::all().find(|(name, _)| *name == excuse.shown_by);
    let (_, text) =
        scenario.unwrap_or_else(|| panic!("{}: no scenario shows it", excuse.difference.name));
    let scenario: Scenario = text.parse().expect("a fixed scenario");
    let many = vec![scenario.clone(); 4 * AGAIN];
    let plain = &play(&many[..1], State::Plain)[0];
    let reports = play(&many, state);
    let differences = reports
        .iter()
        .filter_map(|report| Difference::of(&scenario, state, plain, report));
    differences
        .flat_map(|one| excuses::of(&one).collect::<Vec<_>>())
        .any(|one| one.difference.name == excuse.difference.name)
}

/// Which of these scenarios differ without an excuse; each is played several
/// times if `times` says so.
fn unexcused(scenarios: &[Scenario], state: State, times: usize) -> Vec<Option<Difference>> {
    let many: Vec<_> = scenarios
        .iter()
        .flat_map(|one| std::iter::repeat_n(one.clone(), times))
        .collect();
    let plain = play(&many, State::Plain);
    let other = play(&many, state);
    let mut found = Vec::new();
    for (at, scenario) in scenarios.iter().enumerate() {
        let range = at * times..(at + 1) * times;
        // Where plain TCP itself answers differently there is nothing to say.
        let stable = plain[range.clone()]
            .iter()
            .all(|one| *one == plain[at * times]);
        let difference = range
            .filter(|_| stable)
            .filter_map(|at| Difference::of(scenario, state, &plain[at], &other[at]))
            .find(|one| excuses::of(one).next().is_none());
        found.push(difference);
    }
    found
}

#[test]
fn random_scenarios() {
    let _session = Session::beside_others();
    let seed: u64 = std::env::var("SOCKETVIRT_TEST_SEED").map_or(1, |text| {
        text.parse().expect("a number in SOCKETVIRT_TEST_SEED")
    });
    let seeds: Vec<u64> = (0..u64::from(scaled(RANDOM)))
        .map(|index| (seed << 32) + index)
        .collect();
    let mut failed = Vec::new();
    for seeds in seeds.chunks(BATCH) {
        let scenarios: Vec<_> = seeds.iter().map(|seed| generate::scenario(*seed)).collect();
        let plain = play(&scenarios, State::Plain);
        for state in State::OTHERS {
            let reports = play(&scenarios, state);
            assert_enrolled(state, &reports);
            let differences: Vec<_> = (0..scenarios.len())
                .filter_map(|at| Difference::of(&scenarios[at], state, &plain[at], &reports[at]))
                .filter(|one| excuses::of(one).next().is_none())
                .collect();
            failed.extend(differences.iter().filter_map(confirmed));
        }
    }
    assert!(
        failed.is_empty(),
        "{} differ from plain TCP\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Plays a difference again; `None` when it was plain TCP's own, also of plain TCP
/// that comes late.
fn again(difference: &Difference) -> Option<Difference> {
    let scenario = std::slice::from_ref(&difference.scenario);
    let found = unexcused(scenario, difference.state, AGAIN).pop().flatten();
    let found = found.filter(|one| !one.is_of_time(&play(scenario, State::Late)[0].transcript));
    if found.is_none() {
        println!("seen once:\n{difference}");
    }
    found
}

/// Plays a difference again and makes it smaller.
fn confirmed(difference: &Difference) -> Option<String> {
    let (scenario, state) = (&difference.scenario, difference.state);
    let found = again(difference)?;
    let mut smallest = found;
    shrink::shrink(scenario, |many| {
        let found = unexcused(many, state, 1);
        if let Some(one) = found.iter().flatten().next() {
            smallest = one.clone();
        }
        found.iter().map(Option::is_some).collect()
    });
    Some(smallest.to_string())
}
