//! What the metrics of the list are read as.

use super::{Sample, Scrape};
use crate::{agent::status::Accelerating, policy::status::Line};

/// The samples of a data path; none without one.
pub(super) fn on(scrape: &Scrape, read: impl FnOnce(&Accelerating) -> Vec<Sample>) -> Vec<Sample> {
    scrape
        .status
        .accelerating
        .as_ref()
        .map_or_else(Vec::new, read)
}

/// A value without labels.
pub(super) fn plain(value: impl Into<u64>) -> Sample {
    labelled(value, [""; 0])
}

/// A value with the values of its labels.
#[expect(
    clippy::cast_precision_loss,
    reason = "a float of a scrape holds 2^53 bytes, nine petabytes, exactly"
)]
pub(super) fn labelled<const N: usize>(value: impl Into<u64>, labels: [&str; N]) -> Sample {
    Sample {
        labels: labels.map(str::to_owned).into(),
        value: value.into() as f64,
        buckets: Vec::new(),
    }
}

/// A value for each path.
pub(super) fn paths(fast: u64, stack: u64) -> Vec<Sample> {
    vec![labelled(fast, ["fast"]), labelled(stack, ["stack"])]
}

/// A value for each rule.
pub(super) fn rules(scrape: &Scrape, read: impl Fn(&Line) -> u64) -> Vec<Sample> {
    on(scrape, |on| {
        let lines = on.policy.rules.iter();
        lines
            .map(|line| labelled(read(line), [&line.name, line.action.word()]))
            .collect()
    })
}

/// The bytes of a rule, for each path.
pub(super) fn rule_traffic(line: &Line) -> [Sample; 2] {
    let done = &line.done;
    [("fast", done.fast_bytes), ("stack", done.stack_bytes)]
        .map(|(path, bytes)| labelled(bytes, [&line.name, line.action.word(), path]))
}
