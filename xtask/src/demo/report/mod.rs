//! What the rounds brought, as medians side by side, and the demo's verdict.

mod text;

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    benchmark::Measurement,
    leftovers::Leftovers,
    summary::Summary,
    workload::{Data, Outcome},
};

/// Everything that the rounds brought.
#[derive(Default)]
pub struct Report {
    plain: Vec<Outcome>,
    accelerated: Vec<Outcome>,
    summary: Summary,
    leftovers: Leftovers,
}

/// One redis command: medians over the rounds.
#[derive(Serialize)]
struct Row<'a> {
    command: &'a str,
    plain: Medians,
    accelerated: Medians,
    /// Accelerated by plain: below 1 is better.
    p50_ratio: f64,
    p99_ratio: f64,
    /// Accelerated by plain: above 1 is better.
    rate_ratio: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Medians {
    p50_us: f64,
    p99_us: f64,
    requests_per_second: f64,
}

impl Report {
    /// Adds a run; only an accelerated one has a summary.
    pub fn add(&mut self, outcome: Outcome, summary: Option<Summary>) {
        match summary {
            None => self.plain.push(outcome),
            Some(summary) => {
                self.accelerated.push(outcome);
                self.summary += summary;
            }
        }
    }

    pub fn with_leftovers(self, leftovers: Leftovers) -> Self {
        Self { leftovers, ..self }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let Some(first) = self.plain.first() else {
            return Vec::new();
        };
        let rows = first
            .measurements
            .iter()
            .map(|Measurement { command, .. }| {
                let plain = medians(&self.plain, command);
                let accelerated = medians(&self.accelerated, command);
                Row {
                    command,
                    plain,
                    accelerated,
                    p50_ratio: accelerated.p50_us / plain.p50_us,
                    p99_ratio: accelerated.p99_us / plain.p99_us,
                    rate_ratio: accelerated.requests_per_second / plain.requests_per_second,
                }
            });
        rows.collect()
    }

    /// The sum of the accelerated runs' checks.
    fn data(&self) -> Data {
        let mut sum = Data::default();
        for Outcome { data, .. } in &self.accelerated {
            sum.values += data.values;
            sum.wrong_values += data.wrong_values;
            sum.increments += data.increments;
            sum.counter += data.counter;
        }
        sum
    }

    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Json<'a> {
            ok: bool,
            rounds: usize,
            commands: Vec<Row<'a>>,
            fast_byte_share: f64,
            data: Data,
            summary: &'a Summary,
            left_behind: &'a [String],
        }

        Ok(serde_json::to_string_pretty(&Json {
            ok: self.verdict().is_ok(),
            rounds: self.accelerated.len(),
            commands: self.rows(),
            fast_byte_share: self.summary.bytes.fast_share(),
            data: self.data(),
            summary: &self.summary,
            left_behind: &self.leftovers.found,
        })?)
    }

    fn data_is_right(&self) -> bool {
        self.accelerated
            .iter()
            .all(|outcome| outcome.data.is_right())
    }

    /// Whether the demo showed what it is to show.
    pub fn verdict(&self) -> Result<()> {
        if !self.data_is_right() {
            bail!("the server does not hold what the accelerated client sent");
        }
        if self.summary.bytes.fast == 0 {
            bail!(
                "no byte went the fast way: receive mode {}, {} pairs, left on the stack: {}, errors: {}",
                self.summary.receive_mode,
                self.summary.pairs,
                text::counts(&self.summary.left_on_stack),
                text::counts(&self.summary.errors)
            );
        }
        if !self.leftovers.found.is_empty() {
            bail!("left behind: {}", self.leftovers.found.join("; "));
        }
        Ok(())
    }
}

fn medians(outcomes: &[Outcome], command: &str) -> Medians {
    let median_of = |value: fn(&Measurement) -> f64| {
        median(
            outcomes
                .iter()
                .flat_map(|outcome| &outcome.measurements)
                .filter(|measurement| measurement.command == command)
                .map(value)
                .collect(),
        )
    };
    Medians {
        p50_us: median_of(|measurement| measurement.p50_us),
        p99_us: median_of(|measurement| measurement.p99_us),
        requests_per_second: median_of(|measurement| measurement.requests_per_second),
    }
}

/// The middle value, or the mean of the two in the middle; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::summary::ByPath, *};
    use crate::progress::Style;

    fn outcome(p50_us: f64) -> Outcome {
        Outcome {
            measurements: vec![Measurement {
                command: String::from("GET"),
                p50_us,
                p99_us: p50_us,
                requests_per_second: 1e6 / p50_us,
            }],
            data: Data {
                values: 10,
                wrong_values: 0,
                increments: 5,
                counter: 5,
            },
        }
    }

    fn good() -> Report {
        let mut report = Report::default();
        for p50 in [30.0, 32.0, 40.0] {
            report.add(outcome(p50), None);
        }
        for p50 in [16.0, 20.0, 15.0] {
            let bytes = ByPath {
                fast: 900,
                stack: 100,
            };
            let summary = Summary {
                bytes,
                ..Summary::default()
            };
            report.add(outcome(p50), Some(summary));
        }
        report
    }

    #[test]
    fn medians_are_compared() {
        let report = good();
        let rows = report.rows();
        assert_eq!(rows.len(), 1);
        assert!((rows[0].plain.p50_us - 32.0).abs() < 1e-9);
        assert!((rows[0].accelerated.p50_us - 16.0).abs() < 1e-9);
        assert!((rows[0].p50_ratio - 0.5).abs() < 1e-9);
        assert!((rows[0].rate_ratio - 2.0).abs() < 1e-9);
        let text = report.text(Style::plain());
        assert!(text.contains("90.0% of the bytes (2700 of 3000)"), "{text}");
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn an_even_number_of_rounds_has_a_median() {
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn no_fast_byte_is_a_failure() {
        let mut report = good();
        report.summary.bytes.fast = 0;
        assert!(report.verdict().is_err());
    }

    #[test]
    fn a_leftover_is_a_failure() {
        let report = good().with_leftovers(Leftovers {
            found: vec![String::from("loaded: program 7 sv_msg")],
            ..Leftovers::default()
        });
        assert!(report.verdict().is_err());
    }

    #[test]
    fn one_wrong_value_in_one_round_is_a_failure() {
        let mut report = good();
        report.accelerated[1].data.wrong_values = 1;
        assert!(report.verdict().is_err());
        assert!(report.text(Style::plain()).contains("WRONG"));
    }

    #[test]
    fn differences_that_cancel_out_are_a_failure() {
        let mut report = good();
        report.accelerated[0].data.counter = 4;
        report.accelerated[1].data.counter = 6;
        assert!(report.verdict().is_err());
    }
}
