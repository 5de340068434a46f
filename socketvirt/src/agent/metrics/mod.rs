//! Metrics, in the text form of `OpenMetrics`.
//!
//! `list` has each metric once: its name, unit, labels, and where it is read.
//! A scrape reads all of them at once. `docs/metrics.md` has the same list.

mod list;
pub mod page;
mod samples;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};

pub use self::list::METRICS;
use super::{
    state::State,
    status::{Status, StatusError},
};
use crate::watch::steering::Seen;

/// The type of the text, as `OpenMetrics` 1.0 says.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of each name.
const PREFIX: &str = "socketvirt";

/// All that is read for one scrape.
#[derive(Debug)]
pub struct Scrape {
    status: Status,
    seen: Seen,
}

/// A metric. Its name, unit and labels never change.
pub struct Metric {
    /// Its name, without the prefix, its unit and `_total`.
    pub name: &'static str,
    /// The kind of it.
    pub kind: Kind,
    /// Its unit, if it has one.
    pub unit: Option<Unit>,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts or shows.
    pub help: &'static str,
    /// Reads its samples.
    read: fn(&Scrape) -> Vec<Sample>,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the agent runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Is in its labels.
    Info,
    /// Counts by size.
    Histogram,
}

/// One value, with the values of its labels.
struct Sample {
    labels: Vec<String>,
    /// The value; of a histogram, the sum of all that it counts.
    value: f64,
    /// What a histogram counts: up to each bound, and above the one before.
    buckets: Vec<(f64, u64)>,
}

impl Scrape {
    /// Reads all at once.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn of_agent(state: &State) -> Result<Self, StatusError> {
        let seen = state.accelerating().map(|on| on.steering.seen());
        Ok(Self {
            status: Status::of_agent(state)?,
            seen: seen.unwrap_or_default(),
        })
    }

    /// Returns the text.
    ///
    /// # Errors
    /// Never, as a string has room.
    pub fn encode(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Metric {
    /// Returns the name of its samples, as a query has it.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str()));
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
            Kind::Info => "_info",
        };
        format!("{PREFIX}_{}{}{suffix}", self.name, unit.unwrap_or_default())
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in &METRICS {
            let samples = (metric.read)(self);
            if samples.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
                Kind::Histogram => MetricType::Histogram,
            };
            let unit = metric.unit.as_ref();
            let mut family = encoder.encode_descriptor(metric.name, metric.help, unit, kind)?;
            for sample in samples {
                let names = metric.labels.iter().copied();
                let labels: Vec<(&str, String)> = names.zip(sample.labels).collect();
                if metric.kind == Kind::Info {
                    Info::new(labels).encode(family)?;
                    break;
                }
                let mut one = family.encode_family(&labels)?;
                match metric.kind {
                    Kind::Counter => ConstCounter::new(sample.value).encode(one)?,
                    Kind::Histogram => {
                        let count = sample.buckets.iter().map(|(_, count)| count).sum();
                        let (sum, buckets) = (sample.value, &sample.buckets);
                        one.encode_histogram::<NoLabelSet>(sum, count, buckets, None)?;
                    }
                    Kind::Gauge | Kind::Info => ConstGauge::new(sample.value).encode(one)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use openmetrics_parser::openmetrics::parse_openmetrics;
    use serde_json::Value;
    use socketvirt_common::{
        reason::Reason,
        record::{config::Mode, policy::RuleStats, stats::Stats},
    };

    use super::*;
    use crate::{
        agent::{
            kept::by_reason,
            status::{Accelerating, Agent, Table},
        },
        policy::{
            file::Action,
            status::{Line, Status as Rules},
        },
        session::{
            effective::{Degraded, Effective},
            summary::Summary,
        },
    };

    /// A scrape in which every metric has a sample, and a rule a strange name.
    fn full() -> Scrape {
        let mut stats = Stats::default();
        stats.left_on_stack[Reason::Bulk as usize] = 3;
        stats.pairs_full = 1;
        stats.traffic.fast_bytes = u64::MAX >> 11;
        let mut effective = Effective::new(Mode::Adopt);
        effective.degrade(Degraded::Hidden);
        let rule = Line {
            name: "a \"quoted\" \\ rule".into(),
            action: Action::Adopt,
            max_pairs: None,
            assume: Vec::new(),
            done: RuleStats::default(),
        };
        let kept = || by_reason(&stats.left_on_stack);
        Scrape {
            status: Status {
                schema: 1,
                agent: Some(Agent {
                    pid: 1,
                    version: "0",
                    since: 1,
                }),
                accelerating: Some(Accelerating {
                    home: "run-1-1".into(),
                    works: true,
                    paused: false,
                    watched: 2,
                    enrolled: 1,
                    summary: Summary::new(&effective, &stats),
                    kept: kept(),
                    ended: kept(),
                    void: Vec::new(),
                    policy: Rules {
                        schema: 1,
                        generation: 1,
                        rules: vec![rule],
                    },
                }),
                table: Some(Table {
                    missing: 0,
                    evicted: 0,
                    lost: 0,
                }),
            },
            seen: Seen::default(),
        }
    }

    #[test]
    fn a_parser_reads_every_metric() {
        let text = full().encode().unwrap();
        let parsed = parse_openmetrics(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let names: BTreeSet<&str> = parsed.families.keys().map(String::as_str).collect();
        assert_eq!(names.len(), METRICS.len(), "{text}");
        for metric in &METRICS {
            let sample = metric.full_name();
            let is_one = |line: &str| {
                let rest = line.strip_prefix(&sample);
                rest.is_some_and(|rest| rest.starts_with([' ', '{']) || rest.starts_with("_bucket"))
            };
            assert!(text.lines().any(is_one), "{sample}: {text}");
        }
        // Exact, though it is a float.
        let bytes = format!(
            "socketvirt_traffic_bytes_total{{path=\"fast\"}} {}",
            u64::MAX >> 11
        );
        assert!(text.contains(&bytes), "{text}");
        assert!(text.contains(r#"rule="a \"quoted\" \\ rule""#), "{text}");
    }

    #[test]
    fn an_agent_without_a_data_path_has_fewer() {
        let mut scrape = full();
        scrape.status.accelerating = None;
        let text = scrape.encode().unwrap();
        parse_openmetrics(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(text.contains("socketvirt_build_info"), "{text}");
        assert!(!text.contains("socketvirt_traffic"), "{text}");
    }

    /// The names of our metrics in a text.
    fn named(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words
            .filter(|word| word.starts_with("socketvirt_"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn dashboard_and_alerts_use_what_is_there() {
        let known: BTreeSet<String> = METRICS.iter().map(Metric::full_name).collect();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        for file in ["grafana/socketvirt.json", "alerts/socketvirt.yml"] {
            let text = fs::read_to_string(deploy.join(file)).unwrap();
            let used = named(&text);
            let wrong: Vec<_> = used.difference(&known).collect();
            assert!(wrong.is_empty() && used.len() > 5, "{file}: {wrong:?}");
        }
        let dashboard = fs::read_to_string(deploy.join("grafana/socketvirt.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<i64> = panels
            .iter()
            .filter_map(|panel| panel["id"].as_i64())
            .collect();
        assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
        for panel in panels {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{panel}");
        }
    }
}
