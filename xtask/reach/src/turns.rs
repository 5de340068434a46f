//! The turns of one deployment: its load, plain and below an agent, again and again.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use test_support::{agent, signals::Interrupts};
use xtask::progress;

use super::{
    deployment::{Deployment, FAILURES},
    kept::Kept,
    report::{Measured, Row, Side},
    stage::Stage,
};

/// What all deployments share.
pub struct Turns<'a> {
    pub binary: &'a Path,
    /// Comes first in `PATH`.
    pub programs: &'a Path,
    pub interrupts: &'a Interrupts,
    /// The length of a turn's load.
    pub seconds: u32,
    pub rounds: u32,
}

impl Turns<'_> {
    /// Sets up a deployment, and runs all its turns.
    pub fn run(&self, deployment: &'static Deployment) -> Result<Row> {
        let stage = Stage::set(deployment, self.programs, self.interrupts)?;
        let mut row = Row::new(deployment);
        // Fills caches; a JVM compiles.
        measure(&stage, deployment, self.seconds, &mut |_| Ok(()))?;
        for round in 0..self.rounds {
            // A machine that slows down or warms up favours neither side.
            let order = if round.is_multiple_of(2) {
                [Side::Plain, Side::Accelerated]
            } else {
                [Side::Accelerated, Side::Plain]
            };
            let start = Instant::now();
            for side in order {
                match side {
                    Side::Plain => {
                        let measured = measure(&stage, deployment, self.seconds, &mut |_| Ok(()))?;
                        row.add(side, measured);
                    }
                    Side::Accelerated => self.accelerated(&stage, deployment, &mut row)?,
                }
            }
            progress::note(&format!(
                "{} {}/{}: {} ({:.0} s)",
                deployment.name,
                round + 1,
                self.rounds,
                row.last(),
                start.elapsed().as_secs_f64()
            ));
        }
        Ok(row)
    }

    /// A turn with an agent of the cgroup, as an operator starts it.
    fn accelerated(
        &self,
        stage: &Stage<'_>,
        deployment: &'static Deployment,
        row: &mut Row,
    ) -> Result<()> {
        let (cgroup, log) = (stage.cgroup(), stage.file("agent"));
        let mut agent = if deployment.policy.is_empty() {
            agent::spawn(self.binary, Some(("adopt", cgroup)), log)?
        } else {
            let policy = stage.file("policy.toml");
            fs::write(&policy, deployment.policy)
                .with_context(|| format!("writing {}", policy.display()))?;
            agent::spawn_by(self.binary, &policy, cgroup, log)?
        };
        if !agent::ready(&mut agent, agent::STATE)? {
            bail!("this kernel is not accelerated:\n{}", agent::end(agent)?);
        }
        let mut kept = None;
        // One look, when the turn is half over: it costs the measurement next to nothing.
        let half = Duration::from_secs(self.seconds.into()) / 2;
        let measured = measure(stage, deployment, self.seconds, &mut |age| {
            if kept.is_none() && age > half {
                kept = Some(Kept::now(self.binary)?);
            }
            Ok(())
        });
        // In order also after a failure: a killed agent leaves its data path on.
        let said = agent::end(agent);
        row.add(Side::Accelerated, measured?);
        let said = said?;
        row.fast.add(&said)?;
        row.kept += kept.unwrap_or_default();
        row.kept.add_ended(&said);
        Ok(())
    }
}

/// Runs the load once; `meanwhile` is told how long it has run.
fn measure(
    stage: &Stage<'_>,
    deployment: &Deployment,
    seconds: u32,
    meanwhile: &mut dyn FnMut(Duration) -> Result<()>,
) -> Result<Measured> {
    let (start, before) = (Instant::now(), stage.cpu_time()?);
    let text = stage.run(deployment.load, seconds, &mut || meanwhile(start.elapsed()))?;
    let cpu = stage.cpu_time()?.saturating_sub(before);
    if let Some(failure) = FAILURES.iter().find(|words| text.contains(**words)) {
        bail!("the load has failures ({failure}):\n{text}");
    }
    let rate = rate(&text, deployment.rate)
        .with_context(|| format!("no rate after `{}` in:\n{text}", deployment.rate))?;
    Ok(Measured {
        rate,
        cpu_us: cpu.as_secs_f64() * 1e6 / (rate * f64::from(seconds)),
    })
}

/// The number that follows these words.
fn rate(text: &str, words: &str) -> Option<f64> {
    let (_, after) = text.split_once(words)?;
    let number: f64 = after.split_whitespace().next()?.parse().ok()?;
    (number > 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_number_behind_its_words() {
        let text = "latency average = 0.1 ms\ntps = 5123.5 (without initial connection time)\n";
        assert_eq!(rate(text, "tps ="), Some(5123.5));
        assert_eq!(
            rate("Ops: 9 TPS: 30123 Net_rate: 3.4M/s", "TPS:"),
            Some(30123.0)
        );
        assert_eq!(rate(text, "TPS:"), None);
        assert_eq!(rate("rate 0\n", "rate"), None);
    }
}
