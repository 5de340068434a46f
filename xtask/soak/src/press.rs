//! Pressure: memory and CPUs that are taken away for some seconds, agents that stand still.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use test_support::{command, job::Job, random::Random};

use super::{agent::Agents, place::Place};

/// Buffers that sockets still get while they are squeezed.
const SQUEEZED: u64 = 4 << 20;

/// Things that are under way, and what ends them.
pub struct Press<'a> {
    place: &'a Place,
    folder: PathBuf,
    number: u32,
    /// Fillers and hogs. What becomes of them does not matter, the kernel may kill them.
    jobs: Vec<Job>,
    squeezed_until: Option<Instant>,
    stalled_until: Option<Instant>,
}

impl<'a> Press<'a> {
    pub fn new(place: &'a Place, folder: &Path) -> Self {
        Self {
            place,
            folder: folder.to_owned(),
            number: 0,
            jobs: Vec::new(),
            squeezed_until: None,
            stalled_until: None,
        }
    }

    fn start(&mut self, name: &str, line: &[&str], groups: &[PathBuf]) -> Result<()> {
        self.number += 1;
        let words: Vec<_> = line.iter().map(ToString::to_string).collect();
        let log = self.folder.join(format!("{name}-{}.log", self.number));
        let limit = Duration::from_mins(1);
        self.jobs
            .push(Job::start(name, &words, groups, log, limit)?);
        Ok(())
    }

    /// Fills memory up to the limit and frees it again.
    pub fn memory(&mut self, random: &mut Random) -> Result<()> {
        let bytes = self.place.fill().to_string();
        let seconds = random.within(2..=6).to_string();
        // tail(1) keeps what it may have to print.
        let script =
            format!("head -c {bytes} /dev/zero | tail -c {bytes} | (sleep {seconds}; wc -c)");
        let groups = self.place.press_groups();
        // Should the limit be met, it is the one to go.
        let line = [
            "choom", "-n", "1000", "--", "timeout", "20", "sh", "-c", &script,
        ];
        self.start("filler", &line, &groups)
    }

    /// Keeps CPUs busy.
    pub fn cpu(&mut self, random: &mut Random) -> Result<()> {
        let seconds = random.within(2..=8).to_string();
        for _ in 0..random.within(1..=4) {
            let nice = random.pick("0", &["-10", "5", "19"]);
            let line = [
                "timeout",
                &seconds,
                "nice",
                "-n",
                nice,
                "sh",
                "-c",
                "while :; do :; done",
            ];
            self.start("hog", &line, &[])?;
        }
        Ok(())
    }

    /// Takes the sockets' buffers away; false where no limit of them is here.
    pub fn squeeze(&mut self, random: &mut Random) -> Result<bool> {
        let done = self.place.squeeze(Some(SQUEEZED))?;
        if done {
            self.squeezed_until = Some(later(random, 500..=3000));
        }
        Ok(done)
    }

    /// Stops the agent for a while.
    pub fn stall(&mut self, agents: &mut Agents, random: &mut Random) -> Result<()> {
        agents.signal(Signal::SIGSTOP)?;
        self.stalled_until = Some(later(random, 100..=3000));
        Ok(())
    }

    /// Gives the agent one CPU alone, at a niceness.
    pub fn bind(agents: &Agents, random: &mut Random) {
        let Some(pid) = agents.pid() else { return };
        let pid = pid.to_string();
        let cpu = random.pick("0", &["1"]);
        // A machine of one CPU refuses the other.
        let _ = command::answer(Command::new("taskset").args(["-a", "-c", "-p", cpu, &pid]));
        let nice = random.pick("0", &["19", "-5"]);
        let _ = command::answer(Command::new("renice").args(["-n", nice, "-p", &pid]));
    }

    /// Ends what has lasted long enough.
    pub fn relieve(&mut self, agents: &mut Agents) -> Result<()> {
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= Instant::now());
        if over(self.squeezed_until) {
            self.place.squeeze(None)?;
            self.squeezed_until = None;
        }
        if over(self.stalled_until) {
            self.wake(agents)?;
        }
        let mut at = 0;
        while at < self.jobs.len() {
            if self.jobs[at].status()?.is_some() || self.jobs[at].is_late() {
                self.jobs.swap_remove(at).discard();
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Lets the agent go on, so that it can end in order.
    pub fn wake(&mut self, agents: &mut Agents) -> Result<()> {
        if self.stalled_until.take().is_some() {
            agents.signal(Signal::SIGCONT)?;
        }
        Ok(())
    }

    /// Ends all of it.
    pub fn end(&mut self, agents: &mut Agents) -> Result<()> {
        self.wake(agents)?;
        self.place.squeeze(None)?;
        self.jobs.drain(..).for_each(Job::discard);
        Ok(())
    }
}

fn later(random: &mut Random, milliseconds: std::ops::RangeInclusive<u32>) -> Instant {
    Instant::now() + Duration::from_millis(random.within(milliseconds).into())
}
