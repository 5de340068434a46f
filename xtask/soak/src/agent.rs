//! The agent under kill: started, stalled, ended and killed while connections live.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use test_support::{
    agent::{self, PATIENCE},
    job::Job,
    summary::add_counts,
};

use super::report::{Totals, Usage};

/// The mode of an agent; the only policies that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Adopt,
    Eager,
    Table,
}

impl Mode {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Eager => "eager",
            Self::Table => "table",
        }
    }
}

pub struct Agents {
    binary: PathBuf,
    cgroup: PathBuf,
    folder: PathBuf,
    number: u32,
    running: Option<Job>,
    /// Its mode, and what it had used when it was ready.
    ready: Option<(Mode, Usage)>,
}

impl Agents {
    pub fn new(binary: &Path, cgroup: &Path, folder: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            cgroup: cgroup.to_owned(),
            folder: folder.to_owned(),
            number: 0,
            running: None,
            ready: None,
        }
    }

    pub const fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Job::pid)
    }

    fn spawn(&mut self, mode: Mode) -> Result<Job> {
        self.number += 1;
        let log = self
            .folder
            .join(format!("agent-{}-{}.log", self.number, mode.word()));
        let accelerated = (mode != Mode::Table).then_some((mode.word(), &*self.cgroup));
        agent::spawn(&self.binary, accelerated, log)
    }

    /// Starts one and waits until it is at work; says whether it accelerates what it shall.
    pub fn start(&mut self, mode: Mode) -> Result<bool> {
        let mut job = self.spawn(mode)?;
        let says = match mode {
            Mode::Table => "keeping the table",
            Mode::Adopt | Mode::Eager => agent::STATE,
        };
        let accelerates = agent::ready(&mut job, says)?;
        self.ready = Usage::of(job.pid()).map(|usage| (mode, usage));
        self.running = Some(job);
        Ok(accelerates)
    }

    /// Starts one and kills it while it sets up, wherever it is then.
    pub fn kill_at_start(&mut self, mode: Mode, after: Duration) -> Result<()> {
        let mut job = self.spawn(mode)?;
        if let Some(status) = job.wait(after)? {
            bail!("the agent ended while it started: {status}\n{}", job.text());
        }
        job.signal(Signal::SIGKILL)?;
        job.wait(PATIENCE)?.context("a killed agent goes on")?;
        job.discard();
        Ok(())
    }

    pub fn kill(&mut self, totals: &mut Totals) -> Result<()> {
        self.add_usage(totals);
        if let Some(mut job) = self.running.take() {
            job.signal(Signal::SIGKILL)?;
            job.wait(PATIENCE)?.context("a killed agent goes on")?;
            job.discard();
        }
        Ok(())
    }

    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running
            .as_mut()
            .map_or(Ok(()), |job| job.signal(signal))
    }

    /// Adds what the agent that runs has used of a CPU since it was ready.
    fn add_usage(&mut self, totals: &mut Totals) {
        let now = self.pid().and_then(Usage::of);
        if let (Some((mode, ready)), Some(now)) = (self.ready.take(), now) {
            *totals.agents_cpu.entry(mode.word()).or_default() += now - ready;
        }
    }

    /// Ends it in order, and adds what it did.
    pub fn end(&mut self, totals: &mut Totals) -> Result<()> {
        self.add_usage(totals);
        let Some(job) = self.running.take() else {
            return Ok(());
        };
        let text = agent::end(job)?;
        if let Some(deeds) = agent::deeds(&text) {
            totals.deeds += deeds;
        }
        add_counts(&mut totals.errors, &agent::errors(&text));
        Ok(())
    }

    /// That it has not ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(job) = &mut self.running
            && let Some(status) = job.status()?
        {
            bail!("the agent ended by itself: {status}\n{}", job.text());
        }
        Ok(())
    }
}
