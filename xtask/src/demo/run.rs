//! The rounds: turns with and without an agent, until the time is over.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use test_support::{agent, signals::Interrupts, summary::add_counts};
use xtask::progress;

use super::{
    network::Place,
    redis::{Benchmark, Measured},
    report::{Fast, Load, Report, Side},
    stage::Stage,
    web,
};

/// The time that each load gets in a turn. Rounds are worth more than length: the machine changes from one to the
/// next. wrk takes whole seconds.
const LENGTH: Duration = Duration::from_secs(1);

/// Fewer would show no spread.
const ROUNDS: u32 = 2;

/// A demo at work.
pub struct Demo<'a> {
    binary: PathBuf,
    stage: &'a Stage<'a>,
    interrupts: &'a Interrupts,
    /// One for each side and place.
    benchmarks: [[Benchmark; 2]; 2],
    report: Report,
}

impl<'a> Demo<'a> {
    pub fn new(binary: PathBuf, stage: &'a Stage<'a>, interrupts: &'a Interrupts) -> Self {
        Self {
            binary,
            stage,
            interrupts,
            benchmarks: [(); 2].map(|()| [(); 2].map(|()| Benchmark::new())),
            report: Report::default(),
        }
    }

    /// Goes on while there is time for one more round as long as the longest.
    pub fn run(mut self, time: Duration) -> Result<Report> {
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        while self.report.rounds < ROUNDS || start.elapsed() + longest < time {
            let begin = Instant::now();
            // An agent first: it refuses beside one that keeps this host's table, which may accelerate all of it, and on
            // a kernel that is not fit.
            let order = if self.report.rounds.is_multiple_of(2) {
                [Side::Accelerated, Side::Plain]
            } else {
                [Side::Plain, Side::Accelerated]
            };
            for side in order {
                self.turn(side)?;
            }
            self.report.rounds += 1;
            longest = longest.max(begin.elapsed());
        }
        Ok(self.report)
    }

    fn turn(&mut self, side: Side) -> Result<()> {
        self.interrupts.check()?;
        let start = Instant::now();
        let said = match side {
            Side::Plain => {
                self.loads(side)?;
                None
            }
            Side::Accelerated => Some(self.accelerated()?),
        };
        if let Some(said) = said {
            let deeds = agent::deeds(&said)
                .with_context(|| format!("the agent prints no summary:\n{said}"))?;
            let fast = &mut self.report.fast;
            fast.deeds += deeds;
            add_counts(&mut fast.left_on_stack, &agent::left_on_stack(&said));
            add_counts(&mut fast.errors, &agent::errors(&said));
        }
        progress::note(&format!(
            "round {}, {:<12} {} ({:.1} s)",
            self.report.rounds + 1,
            side.word(),
            self.report.last(side),
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// A turn with an agent; returns what that said.
    fn accelerated(&mut self) -> Result<String> {
        let log = self.stage.file("agent");
        let mode = Some((Fast::MODE, self.stage.cgroup()));
        let mut agent = agent::spawn(&self.binary, mode, log)?;
        if !agent::ready(&mut agent, agent::STATE)? {
            bail!("this kernel is not accelerated:\n{}", agent::end(agent)?);
        }
        let loaded = self.loads(Side::Accelerated);
        // In order also after a failure: a killed agent leaves its data path on.
        let said = agent::end(agent)?;
        loaded?;
        Ok(said)
    }

    fn loads(&mut self, side: Side) -> Result<()> {
        for place in Place::ALL {
            let benchmark = &mut self.benchmarks[side as usize][place as usize];
            let ([set, increment], data) = benchmark.turn(self.stage, place, LENGTH)?;
            let (get, answers) = web::turn(self.stage, place, LENGTH)?;
            let mut add = |load: Load, measured: Measured| {
                self.report.add((place, load), side, measured);
            };
            add(Load::RedisSet, set);
            add(Load::RedisIncrement, increment);
            add(Load::NginxGet, get);
            if side == Side::Accelerated {
                self.report.data.add(data);
                self.report.all_right &= data.is_right() && answers.are_right();
                self.report.answers.add(answers);
            }
        }
        Ok(())
    }
}
