//! Makes a failing scenario smaller: all smaller ones are played at once, the
//! first that still fails is made smaller in turn.

use super::step::{By, Call, Place, Scenario, Step};

/// Rounds at most.
const ROUNDS: usize = 12;

/// The smallest scenario that still fails. `fails` tells it of many at once.
pub fn shrink(scenario: &Scenario, mut fails: impl FnMut(&[Scenario]) -> Vec<bool>) -> Scenario {
    let mut smallest = scenario.clone();
    for _ in 0..ROUNDS {
        let smaller = smaller(&smallest);
        let failing = fails(&smaller);
        let found = smaller.into_iter().zip(failing).find(|(_, fails)| *fails);
        match found {
            Some((one, _)) => smallest = one,
            None => break,
        }
    }
    smallest
}

/// Scenarios that are a bit smaller, those with the fewest steps first.
fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let steps = &scenario.steps;
    let mut all = Vec::new();
    // Without the steps that make the connection, it is made as usual.
    if let Some(at) = steps.iter().position(|one| *one == Step::Reach) {
        let steps = steps[at + 1..].to_vec();
        all.push(Scenario { steps });
    }
    let mut length = steps.len() / 2;
    while length > 0 {
        for start in (0..=steps.len() - length).step_by(length) {
            let mut rest = steps.clone();
            rest.drain(start..start + length);
            all.push(Scenario { steps: rest });
        }
        length /= 2;
    }
    for (at, step) in steps.iter().enumerate() {
        for simpler in simpler(step) {
            let mut steps = steps.clone();
            steps[at] = simpler;
            all.push(Scenario { steps });
        }
    }
    all.retain(|one| !one.steps.is_empty());
    all
}

/// Simpler forms of a step.
fn simpler(step: &Step) -> Vec<Step> {
    let Step::On(end, place, call) = step else {
        return Vec::new();
    };
    let mut calls = Vec::new();
    let mut transfer = |size: usize, by: By, flags: &[_], make: fn(_, _, _) -> Call| {
        if by != By::Plain {
            calls.push(make(size, By::Plain, flags.to_vec()));
        }
        if size > 1 {
            calls.push(make(1, by, flags.to_vec()));
            calls.push(make(size / 2, by, flags.to_vec()));
        }
        for at in 0..flags.len() {
            let mut fewer = flags.to_vec();
            fewer.remove(at);
            calls.push(make(size, by, fewer));
        }
    };
    match call {
        Call::Send(size, by, flags) => transfer(*size, *by, flags, Call::Send),
        Call::Recv(size, by, flags) => transfer(*size, *by, flags, Call::Recv),
        _ => {}
    }
    let mut all: Vec<_> = calls
        .into_iter()
        .map(|call| Step::On(*end, *place, call))
        .collect();
    if *place != Place::Here {
        all.push(Step::On(*end, Place::Here, call.clone()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of many steps the two that matter stay.
    #[test]
    fn what_matters_stays() {
        let text = "a send 900 by=msg; b recv 10 peek; b poll; b pass; fork a send 77; b recv 500 by=vec; a close; b recv 1";
        let scenario: Scenario = text.parse().unwrap();
        let fails = |one: &Scenario| {
            let text = one.to_string();
            text.contains("b pass") && text.contains("recv 500 by=vec")
        };
        let small = shrink(&scenario, |many| many.iter().map(fails).collect());
        assert_eq!(small.to_string(), "b pass; b recv 500 by=vec");
    }
}
