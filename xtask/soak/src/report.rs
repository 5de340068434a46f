//! The report of a soak, for people and as JSON.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    ops::{AddAssign, Sub},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use test_support::summary::{Deeds, counts};
use xtask::progress;

use super::kernel::Kernel;

/// Time of a CPU that agents took, and how long they lived for it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Each may have saved credit for a burst when it starts.
    pub agents: u32,
    pub cpu: Duration,
    pub lived: Duration,
}

impl Usage {
    /// Of a process that lives, since it began.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        Self::parse(&stat, &uptime)
    }

    /// From a `/proc/<pid>/stat` and `/proc/uptime`, whose clock ticks 100 times a second.
    fn parse(stat: &str, uptime: &str) -> Option<Self> {
        // Behind the name, which may have spaces: state is the first of the words, user time the 12th.
        let words: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| words.get(at)?.parse::<u64>().ok();
        let tick = |ticks: u64| Duration::from_millis(10 * ticks);
        let now = Duration::from_secs_f64(uptime.split(' ').next()?.parse().ok()?);
        Some(Self {
            agents: 1,
            cpu: tick(ticks(11)? + ticks(12)?),
            lived: now.saturating_sub(tick(ticks(19)?)),
        })
    }

    fn share(self) -> f64 {
        self.cpu.as_secs_f64() / self.lived.as_secs_f64().max(0.001)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            agents: self.agents,
            cpu: self.cpu.saturating_sub(before.cpu),
            lived: self.lived.saturating_sub(before.lived),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.agents += other.agents;
        self.cpu += other.cpu;
        self.lived += other.lived;
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// The acts on agents, memory and CPUs, by kind.
    pub actions: BTreeMap<&'static str, u64>,
    /// Traffic that ended well, by kind.
    pub traffic: BTreeMap<&'static str, u64>,
    pub bytes_checked: u64,
    pub deeds: Deeds,
    /// The refusals and failures of agents that ended in order, by kind.
    pub errors: BTreeMap<String, u64>,
    /// By the mode of agents, without their start and end.
    pub agents_cpu: BTreeMap<&'static str, Usage>,
    /// Sockets in `TIME_WAIT`, at most.
    pub most_time_wait: u64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub seconds: u64,
    pub memory_pressed_by: &'static str,
    #[serde(flatten)]
    pub totals: Totals,
    /// Of kernel memory, in KB, after all has ended.
    pub growth_kb: Kernel,
    /// The first failure.
    pub failure: Option<String>,
    /// Where the logs are; kept after a failure alone.
    pub logs: Option<PathBuf>,
}

impl Report {
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("writing the report")
    }

    pub fn text(&self, style: progress::Style) -> String {
        let Totals {
            actions,
            traffic,
            bytes_checked,
            deeds,
            errors,
            agents_cpu,
            most_time_wait,
        } = &self.totals;
        let mut text = String::new();
        let took = progress::elapsed(Duration::from_secs(self.seconds));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "soak: {took}, seed {}, memory pressed by {}",
            self.seed, self.memory_pressed_by
        );
        let _ = writeln!(text, "  actions  {}", counts(actions));
        let _ = writeln!(text, "  traffic  {}", counts(traffic));
        let _ = writeln!(text, "  checked  {bytes_checked} bytes, each of them right");
        let _ = writeln!(
            text,
            "  agents   {} adoptions, {} releases, {} pairs, {:.1}% of their bytes fast (those that were not killed)",
            deeds.adopted,
            deeds.released,
            deeds.pairs,
            100.0 * deeds.bytes.fast_share()
        );
        let _ = writeln!(text, "  counted  {}", counts(errors));
        let usage: Vec<_> = agents_cpu
            .iter()
            .map(|(mode, usage)| {
                let lived = usage.lived.as_secs();
                let (share, agents) = (100.0 * usage.share(), usage.agents);
                format!("{mode} {share:.2}% of {lived} s ({agents} agents)")
            })
            .collect();
        let _ = writeln!(text, "  CPU      of agents at work: {}", usage.join(", "));
        let _ = writeln!(
            text,
            "  kernel   {}; up to {most_time_wait} sockets in TIME_WAIT",
            self.growth_kb
        );
        match &self.failure {
            None => text.push_str(&style.green("passed\n")),
            Some(failure) => {
                let _ = writeln!(text, "{} {failure}", style.red("FAILED:"));
            }
        }
        if let Some(logs) = &self.logs {
            let _ = writeln!(text, "logs: {}", logs.display());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_a_share_of_the_time_lived() {
        let stat = "7 (a b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 9 0 1000 0 0";
        let usage = Usage::parse(stat, "110.00 200.00\n").expect("two files");
        assert!((usage.share() - 0.02).abs() < 1e-9);
    }
}
