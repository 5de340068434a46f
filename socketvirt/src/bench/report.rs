//! The report of a benchmark. `--json` prints exactly this, and others script it:
//! fields are added, never renamed; [`SCHEMA`] counts changes of meaning.

use serde::Serialize;
use serde_json::Value;

use super::{
    dump::TableCosts,
    plan::{Expect, Setting, Variant},
    scale::Point,
    stats::{float, median, percentile},
    wire::{Calls, Sample, Work},
};

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// Share of bytes from which a number may be called fast.
const FAST: f64 = 0.9;

/// Share of bytes up to which a number may be called not accelerated.
const STACK: f64 = 0.1;

/// One run of the benchmark.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Release of the running kernel.
    pub kernel: String,
    /// Processors that the benchmark may use.
    pub cpus: usize,
    /// True when this was a quick run: fewer sizes, shorter samples.
    pub quick: bool,
    /// Times that each variant of each case was measured, in turn.
    pub rounds: usize,
    /// Length of one sample.
    pub sample_millis: u64,
    /// The share of all processors that others used during the samples: at some
    /// percent the numbers are not to be trusted.
    pub others_cpu_percent: Option<f64>,
    /// Every measured number.
    pub cases: Vec<Case>,
    /// The summary of `socketvirt exec`, one a worker.
    pub workers: Vec<Worker>,
    /// The cases that could not be measured, with the reason.
    pub skipped: Vec<Skipped>,
    /// The costs of the socket table, when they were measured.
    pub table: Option<TableCosts>,
    /// The growth of adoption's time and the agent's cost, when that was measured.
    pub scale: Vec<Point>,
}

/// Something that has no number.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Skipped {
    /// Group, variant and case.
    pub what: String,
    /// The error.
    pub why: String,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub struct Case {
    /// Group, as for `--only`.
    pub group: &'static str,
    /// Title of the group.
    #[serde(skip)]
    pub title: &'static str,
    /// The work of the two ends.
    pub work: Work,
    /// The way in which they waited.
    pub calls: Calls,
    /// Where they lived.
    pub setting: Setting,
    /// Bytes in one message.
    pub size: usize,
    /// Processors that the two ends ran on.
    pub cpus: usize,
    /// Unit of `value`: `us`, `Gbit/s` or `1/s`.
    pub unit: &'static str,
    /// The variants, the baseline first.
    pub results: Vec<Outcome>,
}

/// One variant's numbers in a case; medians over the rounds.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Which variant.
    pub variant: Variant,
    /// Mean time of a round trip in `us`, or a rate in the case's unit.
    pub value: f64,
    /// `value` of each round, in order of time.
    pub samples: Vec<f64>,
    /// Median latency of a round trip.
    pub p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub p99_us: Option<f64>,
    /// Processor time of both ends per message or connection.
    pub cpu_us: f64,
    /// Times as good as plain TCP: the median of each round's ratio.
    pub ratio_to_tcp: Option<f64>,
    /// The same with its quartiles.
    pub spread_to_tcp: Option<Ratio>,
    /// Times as good as a Unix socket.
    pub ratio_to_unix: Option<f64>,
    /// Times as good as a naive redirect.
    pub ratio_to_naive: Option<Ratio>,
    /// Share of bytes that TCP did not see: 1 went all the fast way. Missing
    /// where there is no such measure (Unix sockets, connection set-up).
    pub fast_share: Option<f64>,
    /// Set when the number is not what its label says, with the reason.
    pub flag: Option<&'static str>,
}

/// The rounds' ratios to another variant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// A quarter of the rounds had less.
    pub lower: f64,
    /// A quarter had more.
    pub upper: f64,
}

/// One worker that ran under `socketvirt exec`.
#[derive(Debug, Serialize)]
pub struct Worker {
    /// Group that it served.
    pub group: &'static str,
    /// Variant that it carried.
    pub variant: Variant,
    /// Its `exec --summary`, as written.
    pub summary: Option<Value>,
    /// Processor time of `exec` itself, in percent of one processor.
    pub agent_cpu_percent: Option<f64>,
}

/// The rounds of one variant in one case.
pub type Rounds = Vec<Option<Sample>>;

impl Ratio {
    fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: median(rounds.iter().copied())?,
            lower: percentile(&rounds, 0.25)?,
            upper: percentile(&rounds, 0.75)?,
        })
    }
}

impl Case {
    /// Adds the rounds of a variant; earlier ones are what it is compared with.
    pub fn add(&mut self, variant: Variant, rounds: &Rounds, all: &[(Variant, Rounds)]) {
        let taken = || rounds.iter().flatten();
        let Some(value) = median(taken().map(|sample| value(self.work, sample))) else {
            return;
        };
        let over = |pick: fn(&Sample) -> Option<f64>| median(taken().filter_map(pick));
        let ratios = |base: Variant| {
            let (_, other) = all.iter().find(|(variant, _)| *variant == base)?;
            let of_round = |(ours, theirs): (&Option<Sample>, &Option<Sample>)| {
                let (ours, theirs) = (
                    value_of(self.work, ours.as_ref())?,
                    value_of(self.work, theirs.as_ref())?,
                );
                Some(if self.work == Work::RoundTrip {
                    theirs / ours
                } else {
                    ours / theirs
                })
            };
            Ratio::of(rounds.iter().zip(other).filter_map(of_round).collect())
        };
        let ratio = |base| ratios(base).map(|ratio| ratio.median);
        let fast_share = over(fast_share);
        self.results.push(Outcome {
            variant,
            value,
            samples: taken()
                .map(|sample| self::value(self.work, sample))
                .collect(),
            p50_us: over(|sample| sample.p50_us),
            p99_us: over(|sample| sample.p99_us),
            cpu_us: over(|sample| Some(sample.cpu_us)).unwrap_or_default(),
            ratio_to_tcp: ratio(Variant::Tcp),
            spread_to_tcp: ratios(Variant::Tcp),
            ratio_to_unix: ratio(Variant::Unix),
            ratio_to_naive: ratios(Variant::Naive),
            fast_share,
            flag: flag(variant, fast_share),
        });
    }
}

/// Share of a sample's bytes that TCP did not see.
#[must_use]
pub fn fast_share(sample: &Sample) -> Option<f64> {
    let stack = float(sample.stack_bytes?);
    // Retransmissions count twice, and a connection's bytes are never negative.
    Some((1.0 - stack / float(sample.bytes.max(1))).clamp(0.0, 1.0))
}

/// True when most bytes of a sample went the fast way.
#[must_use]
pub fn went_fast(sample: &Sample) -> bool {
    fast_share(sample).is_some_and(|share| share >= FAST)
}

/// Unit of a work's value.
#[must_use]
pub fn unit(work: Work) -> &'static str {
    match work {
        Work::RoundTrip => "us",
        Work::Stream => "Gbit/s",
        Work::Connect | Work::Request => "1/s",
    }
}

fn value_of(work: Work, sample: Option<&Sample>) -> Option<f64> {
    sample.map(|sample| value(work, sample))
}

fn value(work: Work, sample: &Sample) -> f64 {
    match work {
        Work::RoundTrip => sample.seconds * 1e6 / float(sample.messages.max(1)),
        Work::Stream => float(sample.bytes) * 8.0 / sample.seconds / 1e9,
        Work::Connect | Work::Request => float(sample.messages) / sample.seconds,
    }
}

fn flag(variant: Variant, share: Option<f64>) -> Option<&'static str> {
    match (variant.expects(), share?) {
        (Expect::Fast, share) if share < STACK => Some("went by the stack"),
        (Expect::Fast, share) if share < FAST => Some("went partly by the stack"),
        (Expect::Stack, share) if share > STACK => Some("went the fast way"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(messages: u64, seconds: f64, stack_bytes: u64) -> Sample {
        Sample {
            messages,
            bytes: 1000,
            seconds,
            p50_us: None,
            p99_us: None,
            cpu_us: 1.0,
            stack_bytes: Some(stack_bytes),
        }
    }

    fn case(work: Work) -> Case {
        Case {
            group: "test",
            title: "test",
            work,
            calls: Calls::Blocking,
            setting: Setting::Loopback,
            size: 1,
            cpus: 1,
            unit: unit(work),
            results: Vec::new(),
        }
    }

    fn compare(work: Work, fast: Sample) -> Outcome {
        let all = [
            (
                Variant::Tcp,
                vec![Some(sample(100, 1.0, 1000)), Some(sample(100, 1.0, 1000))],
            ),
            (Variant::FastEager, vec![None, Some(fast)]),
        ];
        let mut case = case(work);
        for (variant, rounds) in &all {
            case.add(*variant, rounds, &all);
        }
        case.results.pop().expect("two variants were added")
    }

    #[test]
    fn a_ratio_above_one_is_better_for_times_and_for_rates() {
        let time = compare(Work::RoundTrip, sample(200, 1.0, 0));
        assert_eq!(time.ratio_to_tcp, Some(2.0));
        let rate = compare(Work::Connect, sample(200, 1.0, 0));
        assert_eq!(rate.ratio_to_tcp, Some(2.0));
        assert_eq!(rate.ratio_to_unix, None);
    }

    #[test]
    fn a_fast_number_that_went_by_the_stack_is_flagged() {
        assert_eq!(compare(Work::RoundTrip, sample(200, 1.0, 0)).flag, None);
        assert!(
            compare(Work::RoundTrip, sample(200, 1.0, 500))
                .flag
                .is_some()
        );
        assert!(
            compare(Work::RoundTrip, sample(200, 1.0, 1000))
                .flag
                .is_some()
        );
    }

    #[test]
    fn a_variant_without_samples_has_no_result() {
        let mut case = case(Work::Stream);
        case.add(Variant::Tcp, &vec![None], &[]);
        assert!(case.results.is_empty());
    }
}
