//! The loop: traffic is kept going, and something happens to it every few seconds.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use test_support::{
    command,
    job::{self, Job},
    random::Random,
    signals::Interrupts,
    summary::{Deeds, Summary, add_counts, counts},
};
use xtask::progress;

use super::{
    agent::{Agents, Mode},
    kernel::{self, Kernel},
    place::Place,
    press::Press,
    report::Totals,
    servers::Servers,
    traffic::{self, Kind, Programs},
};

/// From one look at the jobs to the next.
const LOOK: Duration = Duration::from_millis(50);

/// From one line of progress to the next in a log, which keeps them all.
const TELL: Duration = Duration::from_mins(1);

/// Lines of an output that an error shows; the whole is in the logs.
const TAIL: usize = 25;

/// One soak under way.
pub struct Soak<'a> {
    programs: Programs,
    place: &'a Place,
    servers: Servers,
    agents: Agents,
    press: Press<'a>,
    random: Random,
    jobs: Vec<(Kind, u32, Job)>,
    number: u32,
    /// Faults that have not been met yet.
    faults: VecDeque<Kind>,
    start: Instant,
    end: Instant,
    before: Kernel,
    interrupts: Interrupts,
    /// The diary of what was done when.
    pub diary: String,
    pub totals: Totals,
}

impl<'a> Soak<'a> {
    pub fn new(
        programs: Programs,
        place: &'a Place,
        seed: u64,
        duration: Duration,
        before: Kernel,
    ) -> Result<Self> {
        let folder = programs.folder.clone();
        let start = Instant::now();
        Ok(Self {
            servers: Servers::start(place, &folder)?,
            agents: Agents::new(&programs.binary, place.traffic(), &folder),
            press: Press::new(place, &folder),
            programs,
            place,
            random: Random::new(seed),
            jobs: Vec::new(),
            number: 0,
            faults: Kind::FAULTS.into(),
            start,
            end: start + duration,
            before,
            interrupts: Interrupts::block()?,
            diary: String::new(),
            totals: Totals::default(),
        })
    }

    /// Until the time is over or something is wrong.
    pub fn run(&mut self) -> Result<()> {
        let mut next = Instant::now();
        let mut shown = Instant::now();
        let mut told = Instant::now();
        while Instant::now() < self.end {
            self.interrupts.check()?;
            self.check()?;
            self.keep_going()?;
            if next <= Instant::now() {
                self.act()?;
                let pause = self.random.within(300..=4000);
                next = Instant::now() + Duration::from_millis(pause.into());
            }
            if shown.elapsed() > Duration::from_secs(2) {
                if io::stderr().is_terminal() {
                    eprint!("\r\x1b[K    {}", self.progress());
                    // Only the look of it is at stake.
                    let _ = io::stderr().flush();
                } else if told.elapsed() > TELL {
                    progress::note(&self.progress());
                    told = Instant::now();
                }
                shown = Instant::now();
                let waits = kernel::time_wait()?;
                self.totals.most_time_wait = self.totals.most_time_wait.max(waits);
                let growth = Kernel::now()?.grown_since(self.before);
                if let Some(wrong) = growth.too_much_at_work() {
                    bail!("{wrong}");
                }
            }
            thread::sleep(LOOK);
        }
        self.drain()
    }

    /// Lets the last traffic come to its end.
    fn drain(&mut self) -> Result<()> {
        self.note("the traffic ends");
        while !self.jobs.is_empty() {
            self.interrupts.check()?;
            self.check()?;
            thread::sleep(LOOK);
        }
        self.servers.check()
    }

    fn check(&mut self) -> Result<()> {
        self.press.relieve(&mut self.agents)?;
        self.agents.check()?;
        self.servers.check()?;
        let mut at = 0;
        while at < self.jobs.len() {
            let (_, _, job) = &mut self.jobs[at];
            match job.status()? {
                Some(status) => {
                    let (kind, number, job) = self.jobs.swap_remove(at);
                    let text = job.text();
                    let checked = traffic::checked(kind, &text);
                    let (true, Ok(bytes)) = (status.success(), &checked) else {
                        let why = checked
                            .err()
                            .map_or_else(String::new, |e| format!(", {e:#}"));
                        bail!("{}: {status}{why}\n{}\n{}", job.name, job.line, tail(&text));
                    };
                    self.totals.bytes_checked += bytes;
                    *self.totals.traffic.entry(kind.word()).or_default() += 1;
                    if kind.is_exec() {
                        let json = job::read(&self.programs.summary(number));
                        let summary: Summary = serde_json::from_str(&json)
                            .context("reading the summary of `socketvirt exec`")?;
                        self.totals.deeds += Deeds::from(&summary);
                        if let Kind::Full(full) = kind {
                            add_counts(&mut self.totals.errors, &summary.errors);
                            full.judge(&summary)
                                .with_context(|| format!("{}: {}", job.name, json.trim()))?;
                        }
                    }
                    self.note(&format!("{} is right", job.name));
                    self.programs.tidy(number);
                    job.discard();
                }
                None if job.is_late() => {
                    let sockets = command::answer(Command::new("ss").args(["-tinmoe"]));
                    let (name, line, text) = (job.name.clone(), job.line.clone(), job.text());
                    self.diary.push_str(&sockets.unwrap_or_default());
                    let limit = progress::elapsed(traffic::LIMIT);
                    bail!(
                        "{name} hangs: not done after {limit}\n{line}\n{}",
                        tail(&text)
                    );
                }
                None => at += 1,
            }
        }
        Ok(())
    }

    /// Starts traffic where there is less than there shall be.
    fn keep_going(&mut self) -> Result<()> {
        while self.jobs.len() < 4 {
            let kind = self.next_kind();
            self.number += 1;
            let name = format!("{}-{}", kind.word(), self.number).replace(' ', "-");
            let words = self
                .programs
                .command(kind, &self.servers, self.number, &mut self.random);
            let groups: Vec<PathBuf> = match kind {
                kind if kind.is_exec() => Vec::new(),
                _ => self.place.traffic_groups(),
            };
            let log = self.programs.folder.join(format!("{name}.log"));
            self.note(&format!("{name} starts: {}", words.join(" ")));
            let job = Job::start(&name, &words, &groups, log, traffic::LIMIT)?;
            self.jobs.push((kind, self.number, job));
        }
        Ok(())
    }

    /// Chooses what comes next: a fault whose time has come, or anything.
    fn next_kind(&mut self) -> Kind {
        let goes = |kind: Kind, jobs: &[(Kind, u32, Job)]| {
            jobs.iter().all(|(other, ..)| kind.goes_with(*other))
        };
        // All of them within two thirds of the time: some take a while.
        let many = u32::try_from(Kind::FAULTS.len()).unwrap_or(1);
        let met = many - u32::try_from(self.faults.len()).unwrap_or(0);
        let due = (self.end - self.start) * 2 / 3 * met / many;
        if self.start.elapsed() >= due
            && let Some(fault) = self.faults.front().copied()
            && goes(fault, &self.jobs)
        {
            self.faults.pop_front();
            return fault;
        }
        loop {
            let kind = Kind::any(&mut self.random);
            if goes(kind, &self.jobs) {
                return kind;
            }
        }
    }

    /// Lets something happen.
    fn act(&mut self) -> Result<()> {
        let mode = self.random.pick(
            Mode::Adopt,
            &[Mode::Adopt, Mode::Adopt, Mode::Eager, Mode::Table],
        );
        if !self.agents.runs() {
            if self.random.once_in(4) {
                self.count("kill at start", mode.word());
                let after = Duration::from_millis(self.random.within(0..=900).into());
                return self.agents.kill_at_start(mode, after);
            }
            self.count(start(mode), "");
            if !self.agents.start(mode)? {
                self.count("refusal", mode.word());
            }
            return Ok(());
        }
        let (press, random) = (&mut self.press, &mut self.random);
        match random.within(0..=9) {
            0..=2 => {
                press.wake(&mut self.agents)?;
                self.count("kill", "");
                self.agents.kill(&mut self.totals)
            }
            3..=4 => {
                press.wake(&mut self.agents)?;
                self.count("end", "");
                self.agents.end(&mut self.totals)?;
                self.count(start(mode), "");
                if !self.agents.start(mode)? {
                    self.count("refusal", mode.word());
                }
                Ok(())
            }
            5 => {
                press.stall(&mut self.agents, random)?;
                self.count("stall", "");
                Ok(())
            }
            6 => {
                Press::bind(&self.agents, random);
                self.count("bind to a CPU", "");
                Ok(())
            }
            7 => {
                press.cpu(random)?;
                self.count("hog CPUs", "");
                Ok(())
            }
            8 => {
                press.memory(random)?;
                self.count("fill memory", "");
                Ok(())
            }
            // Late, because what connects after it is kept off for good.
            _ if self.start.elapsed() < (self.end - self.start) * 2 / 3 => Ok(()),
            _ => {
                if press.squeeze(random)? {
                    self.count("squeeze buffers", "");
                }
                Ok(())
            }
        }
    }

    fn count(&mut self, action: &'static str, more: &str) {
        *self.totals.actions.entry(action).or_default() += 1;
        self.note(&format!("action: {action} {more}"));
    }

    fn note(&mut self, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(
            self.diary,
            "{:9.3} {text}",
            self.start.elapsed().as_secs_f64()
        );
    }

    /// Says in one line how far it is.
    fn progress(&self) -> String {
        let left = self.end.saturating_duration_since(Instant::now());
        format!(
            "{} left, {} MB checked; {}",
            progress::elapsed(left),
            self.totals.bytes_checked >> 20,
            counts(&self.totals.actions)
        )
    }

    /// Ends whatever still runs, after a failure too: the traffic, its servers, then the agent. One more agent
    /// clears what killed ones have left.
    pub fn finish(mut self) -> (Totals, String, Result<()>) {
        if io::stderr().is_terminal() {
            eprintln!();
        }
        self.note("the servers and the last agents end");
        self.jobs.clear();
        self.servers.end();
        let ended = self
            .press
            .end(&mut self.agents)
            .and_then(|()| self.agents.end(&mut self.totals))
            .and_then(|()| self.agents.start(Mode::Adopt))
            .and_then(|_| self.agents.end(&mut self.totals));
        (self.totals, self.diary, ended)
    }
}

const fn start(mode: Mode) -> &'static str {
    match mode {
        Mode::Adopt => "start adopt",
        Mode::Eager => "start eager",
        Mode::Table => "start table",
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Writes the diary beside the logs.
pub fn keep(diary: &str, folder: &Path) -> Result<()> {
    let file = folder.join("diary");
    std::fs::write(&file, diary).with_context(|| format!("writing {}", file.display()))
}
