//! What the turns brought: a row for each deployment.

mod text;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use test_support::{
    agent,
    leftovers::Leftovers,
    stats::{Interval, median},
    summary::{ByPath, Deeds, add_counts, counts},
};

use super::{
    deployment::Deployment,
    kept::{Kept, Why},
};

/// The ratio below which a deployment is slower when accelerated.
const NOTABLE: f64 = 0.99;

/// The share of messages above which nothing is to be explained.
const NEARLY_ALL: f64 = 0.95;

/// The two sides of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Plain,
    Accelerated,
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What is done in a second.
    pub rate: f64,
    /// Processor time of servers and clients for one of it, microseconds. Work of others changes it less than the rate.
    pub cpu_us: f64,
}

/// The agents' words on all turns of a deployment.
#[derive(Debug, Default, Serialize)]
pub struct Fast {
    #[serde(flatten)]
    pub deeds: Deeds,
    /// Refusals and errors, by kind.
    pub errors: std::collections::BTreeMap<String, u64>,
}

impl Fast {
    pub fn add(&mut self, said: &str) -> Result<()> {
        self.deeds +=
            agent::deeds(said).with_context(|| format!("the agent prints no summary:\n{said}"))?;
        add_counts(&mut self.errors, &agent::errors(said));
        Ok(())
    }
}

/// One deployment, all turns.
#[derive(Debug)]
pub struct Row {
    deployment: &'static Deployment,
    /// Plain, and accelerated.
    rounds: [Vec<Measured>; 2],
    pub fast: Fast,
    pub kept: Kept,
}

/// A deployment in the report.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    /// Medians.
    plain: Measured,
    accelerated: Measured,
    /// The rate, accelerated by plain: above 1 is faster.
    ratio: Interval,
    /// The same of what is done in a second of processor time.
    by_cpu: Interval,
    /// Messages on the fast path, from 0 to 1.
    fast_share: f64,
    #[serde(flatten)]
    fast: Fast,
    /// Why others were not there.
    kept: Vec<Why>,
    advice: &'static str,
    rounds: [Vec<Measured>; 2],
}

/// A deployment that could not be measured.
#[derive(Debug, Serialize)]
struct LeftOut {
    name: &'static str,
    why: String,
}

/// All deployments.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    kernel: String,
    cpus: usize,
    deployments: Vec<Line>,
    left_out: Vec<LeftOut>,
    #[serde(skip)]
    pub leftovers: Leftovers,
}

impl Row {
    pub fn new(deployment: &'static Deployment) -> Self {
        Self {
            deployment,
            rounds: [Vec::new(), Vec::new()],
            fast: Fast::default(),
            kept: Kept::default(),
        }
    }

    pub fn add(&mut self, side: Side, measured: Measured) {
        self.rounds[side as usize].push(measured);
    }

    /// The last round, for progress.
    pub fn last(&self) -> String {
        let rate = |side: Side| {
            let last = self.rounds[side as usize].last();
            last.map_or(0.0, |measured| measured.rate)
        };
        let [plain, accelerated] = [rate(Side::Plain), rate(Side::Accelerated)];
        format!(
            "{plain:.0}/s plain, {accelerated:.0}/s accelerated ({:.2}x)",
            accelerated / plain
        )
    }

    /// The share of messages that were on the fast path.
    ///
    /// The agent does not count the messages of a connection that has ended before it looked. Each end of it has sent one,
    /// at least.
    fn fast_share(&self) -> f64 {
        let ByPath { fast, stack } = self.fast.deeds.messages;
        let stack = stack.max(self.kept.ended());
        ByPath { fast, stack }.fast_share()
    }

    fn line(self) -> Option<Line> {
        let [plain, accelerated] = &self.rounds;
        let ratios = |of: fn(&Measured, &Measured) -> f64| {
            let both = plain.iter().zip(accelerated);
            Interval::of(both.map(|(plain, accelerated)| of(plain, accelerated)))
        };
        let deployment = self.deployment;
        Some(Line {
            name: deployment.name,
            what: deployment.what,
            unit: deployment.unit,
            plain: medians(plain)?,
            accelerated: medians(accelerated)?,
            ratio: ratios(|plain, accelerated| accelerated.rate / plain.rate)?,
            by_cpu: ratios(|plain, accelerated| plain.cpu_us / accelerated.cpu_us)?,
            fast_share: self.fast_share(),
            fast: self.fast,
            kept: self.kept.reasons(),
            advice: deployment.advice,
            rounds: self.rounds,
        })
    }
}

fn medians(rounds: &[Measured]) -> Option<Measured> {
    Some(Measured {
        rate: median(rounds.iter().map(|one| one.rate))?,
        cpu_us: median(rounds.iter().map(|one| one.cpu_us))?,
    })
}

impl Line {
    /// True when even the better end of the interval is below.
    fn is_slower(&self) -> bool {
        self.ratio.upper < NOTABLE
    }

    /// True when its reasons are worth a line.
    fn is_kept(&self) -> bool {
        self.fast_share < NEARLY_ALL
    }

    /// Reasons that explain a notable part, the most frequent first.
    fn main_reasons(&self) -> impl Iterator<Item = &Why> {
        let all: u64 = self.kept.iter().map(|why| why.open + why.ended).sum();
        let told = self.kept.iter().filter(|why| why.reason != "none");
        told.filter(move |why| (why.open + why.ended) * 20 >= all)
            .take(3)
    }
}

impl Report {
    pub fn new() -> Result<Self> {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("reading the kernel's release")?;
        Ok(Self {
            kernel: kernel.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            ..Self::default()
        })
    }

    pub fn add(&mut self, row: Row) {
        let name = row.deployment.name;
        match row.line() {
            Some(line) => self.deployments.push(line),
            None => self.leave_out(name, String::from("it had no round")),
        }
    }

    pub fn leave_out(&mut self, name: &'static str, why: String) {
        self.left_out.push(LeftOut { name, why });
    }

    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("putting the report into JSON")
    }

    /// Fails for what must not be: errors of the data path, something left behind.
    pub fn check(&self) -> Result<()> {
        for line in &self.deployments {
            if line.fast.errors.values().any(|&count| count > 0) {
                bail!("{}: errors: {}", line.name, counts(&line.fast.errors));
            }
        }
        if !self.leftovers.found.is_empty() {
            bail!("left behind: {}", self.leftovers.found.join("; "));
        }
        if self.deployments.is_empty() {
            bail!("nothing was measured");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
