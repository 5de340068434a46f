//! The thread that runs the tiers: it sleeps until there is something to see.

use std::{
    io::PipeReader,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use socketvirt_common::{
    record::{config::Mode, flow::Traffic, stats::Stats},
    rule::pace::{Budget, Inspections, sweep_every},
};

use super::{
    error::WatchError,
    memory,
    pulse::Pulse,
    scope::Id,
    steering::{Seen, Steering},
    tracing::Tracing,
    waiting::{self, Calls as Called, Pause},
};
use crate::{
    datapath::{calls::Calls, config::ConfigMap, spaces::Spaces, stats::StatsMap, tiers::Tiers},
    host::namespaces,
    policy::names::Names,
    program::{holders, maps::Made, readers::Readers, splicers::Splicers},
    thread::cpu_time,
};

/// The time that programs may load at the start of eager mode before it goes on
/// without them.
const LOADING: Duration = Duration::from_secs(1);

/// The time until a pair that leaves, or a program that loads, is visited again.
const SOON: Duration = Duration::from_millis(1);

/// The watched data path, with its switches.
///
/// It enters namespaces: its work must be done in a thread that does nothing
/// else.
pub struct Watcher {
    config: ConfigMap,
    stats: StatsMap,
    tiers: Tiers,
    spaces: Spaces,
    readers: Readers,
    maps: Made,
    /// Programs that may splice by cgroup, for handshakes.
    splicers: Splicers,
    /// Lists the processes whose sockets are watched; all of the host are
    /// without.
    procs: Option<PathBuf>,
    budget: Budget,
    inspections: Inspections,
    swept: Option<Instant>,
    /// The time that the last sweep took.
    sweep: Duration,
    /// Sweeps on end that have found nothing changed.
    unchanged: u32,
    /// The traffic that is not among the counters yet.
    live: Traffic,
    /// What is shown to others.
    seen: Seen,
    /// A reader is still loading.
    loading: bool,
    interval: Duration,
    /// Connections may be older than the data path.
    older: bool,
    /// The cgroup whose sockets are watched, as it is at the time.
    scope: Option<Id>,
    tracing: Tracing,
    /// The last look, as it was seen, at a pair that needs calls watched before or after
    /// its time on the fast path.
    needy_at: u64,
    /// Sockets were visited since the last sweep.
    acted: bool,
    pulse: Pulse,
    /// Answers for the policy; none without a home that has one.
    names: Option<Names>,
}

impl Watcher {
    /// Steers the data path by these.
    #[must_use]
    pub fn new(
        config: ConfigMap,
        stats: StatsMap,
        tiers: Tiers,
        readers: Readers,
        splicers: Splicers,
        procs: Option<PathBuf>,
    ) -> Self {
        Self {
            config,
            stats,
            tiers,
            spaces: Spaces::new(),
            readers,
            maps: Made::from_now_on(),
            splicers,
            procs,
            budget: Budget::default(),
            inspections: Inspections::default(),
            swept: None,
            sweep: Duration::ZERO,
            unchanged: 0,
            live: Traffic::default(),
            seen: Seen::default(),
            loading: false,
            interval: SOON,
            older: false,
            scope: None,
            tracing: Tracing::of(None, None),
            needy_at: 0,
            acted: false,
            pulse: Pulse::default(),
            names: None,
        }
    }

    /// The switches.
    pub fn config(&mut self) -> &mut ConfigMap {
        &mut self.config
    }

    /// The counters, with what live sockets had sent at the last sweep.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn stats(&self) -> Result<Stats, WatchError> {
        let mut stats = self.stats.read()?;
        stats.traffic.add(&self.live);
        Ok(stats)
    }

    /// Sets every counter to zero.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn reset_stats(&mut self) -> Result<(), WatchError> {
        Ok(self.stats.reset()?)
    }

    /// Inspects the programs that are there before a handshake enrols anything,
    /// until all of them have loaded their libraries, or have had the time.
    ///
    /// # Errors
    /// When what it finds cannot be written down.
    pub fn inspect_first(&mut self) -> Result<(), WatchError> {
        let mut pids = pids_of(self.procs.as_deref());
        // Its libraries are those of most programs, and are known from now on.
        pids.push(std::process::id());
        let deadline = Instant::now() + LOADING;
        while !self.splicers.inspect(pids.iter().copied())? && Instant::now() < deadline {
            thread::sleep(SOON);
        }
        Ok(())
    }

    /// Has the thread look for pairs that are older than the data path, too.
    #[must_use]
    pub fn with_older(mut self, older: bool) -> Self {
        self.older = older;
        self
    }

    /// Watches connections of the cgroup that has this id at the time.
    #[must_use]
    pub fn following(mut self, scope: Id) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Has the thread answer what the policy is asked for.
    #[must_use]
    pub fn with_policy(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// Watches `calls` only while a pair needs it. Not in eager mode, which enrols
    /// before anything was looked at. Watches `submissions` to rings when a process
    /// has rings for files.
    #[must_use]
    pub fn tracing(mut self, calls: Option<Calls>, submissions: Option<Calls>) -> Self {
        self.tracing = Tracing::of(calls, submissions);
        self
    }

    /// Has calls watched while a pair is enrolled or leaves, or waits for nothing but to know
    /// who reads it. On a host whose pairs are all kept on the stack, no call pays.
    ///
    /// Nothing is enrolled unseen: who read a socket before calls went unseen may
    /// have passed it on, so that is forgotten, and an end without a reader is not
    /// enrolled.
    fn watch_calls(&mut self) -> Result<(), WatchError> {
        let shared = self.tiers.shared();
        let asked = shared.needy_at != self.needy_at;
        self.needy_at = shared.needy_at;
        let needed = asked || self.acted || shared.enrolled > 0 || shared.waiting > 0;
        if self.tracing.keep_up(needed)? {
            self.tiers.forget_readers()?;
        }
        self.tiers.blind(self.tracing.is_blind());
        let wanted = self.readers.rings().wants_submissions();
        let submissions = self.tracing.watch_submissions(wanted);
        Ok(self.readers.submissions(submissions)?)
    }

    /// One round: looks at what is hot, or at everything, and acts.
    fn round(&mut self) -> Result<(), WatchError> {
        self.watch_calls()?;
        self.tiers.look()?;
        if self.sweep_is_due() {
            self.sweep()?;
        }
        if self.tiers.shared().unnamed > 0
            && let Some(names) = &mut self.names
        {
            names.answer()?;
            self.tiers.look()?;
        }
        let shared = self.tiers.shared();
        if shared.uninspected > 0 {
            self.loading = !self.readers.inspect(self.splicers.habits())?;
            // A process that was waited for may be known now.
            self.tiers.look()?;
        }
        if shared.shared > 0 {
            self.find_holders()?;
            self.tiers.look()?;
        }
        if self.tiers.shared().waiting > 0 {
            let began = cpu_time();
            self.acted = true;
            self.tiers.act(&mut self.spaces)?;
            self.seen.act_time += cpu_time().saturating_sub(began);
            self.tiers.look()?;
        }
        Ok(())
    }

    /// Puts a wish into force. Connections that begin during a pause are not noted:
    /// they are found afterwards like those that are older than the data path.
    fn steer(&mut self, steering: &Steering, mode: Mode) -> Result<(), WatchError> {
        if !steering.has_wish() {
            return Ok(());
        }
        let paused = steering.wish();
        let mode = if paused { Mode::Off } else { mode };
        self.config.change(|config| config.mode = mode)?;
        if !paused {
            self.tiers.discover(&mut self.spaces)?;
        }
        self.swept = None;
        steering.fulfilled(paused);
        Ok(())
    }

    /// Finds who holds the sockets that others may hold, and inspects them.
    fn find_holders(&mut self) -> Result<(), WatchError> {
        let found = self.tiers.holders()?;
        self.loading |= !self.readers.inspect(self.splicers.habits())?;
        for (end, holders) in holders::by_end(&found) {
            if let Some((references, reason)) = holders.verdict(&self.readers)? {
                self.tiers.held(end, references, reason);
            }
        }
        Ok(())
    }

    fn sweep_is_due(&self) -> bool {
        let every = sweep_every(self.sweep, self.unchanged);
        self.swept.is_none_or(|at| at.elapsed() >= every)
    }

    fn sweep(&mut self) -> Result<(), WatchError> {
        if let Some(cgroup) = self.scope.as_ref().map(Id::get)
            && cgroup != self.config.get().cgroup
        {
            self.config.change(|config| config.cgroup = cgroup)?;
        }
        if self.tiers.shared().enrolled > 0 {
            let short = u32::from(memory::tcp_is_short());
            if self.config.get().memory_pressure != short {
                self.config
                    .change(|config| config.memory_pressure = short)?;
            }
        }
        if let Some(names) = &mut self.names {
            names.follow_namespaces()?;
        }
        if self.maps.any() {
            self.readers.find_maps()?;
        }
        self.readers.find_used()?;
        let began = cpu_time();
        let counted = self.stats.read()?.traffic;
        let live = self.tiers.sweep()?;
        // What visits have enrolled is counted now.
        self.acted = false;
        self.sweep = cpu_time().saturating_sub(began);
        let shared = self.tiers.shared();
        self.seen.sweep(counted, &live, shared.enrolled);
        let (pairs, enrolled, hot) = (shared.pairs, shared.enrolled, shared.hot);
        tracing::debug!(pairs, enrolled, hot, "looked at all pairs");
        let changed = live != self.live || shared.hot > 0 || shared.waiting > 0;
        self.unchanged = if changed { 0 } else { self.unchanged + 1 };
        self.live = live;
        self.swept = Some(Instant::now());
        Ok(())
    }

    /// Returns the time to wait before the next round; for ever while nothing is
    /// watched, and no trace point waits for its end.
    fn pause(&self) -> Option<Duration> {
        let shared = self.tiers.shared();
        let owed = self.budget.wait();
        if shared.hot > 0 || shared.waiting > 0 || self.loading {
            return Some(owed.max(self.interval));
        }
        if shared.pairs == 0 {
            return self.tracing.pause().map(|pause| owed.max(pause));
        }
        let every = sweep_every(self.sweep, self.unchanged);
        let since = self.swept.map_or(every, |at| at.elapsed());
        Some(owed.max(every.saturating_sub(since)))
    }

    /// Charges a round that took `cost`, and shows what it saw.
    fn spent(&mut self, cost: Duration, to: &Steering) {
        self.budget.spend(cost);
        self.seen.rounds += 1;
        self.seen.time += cost;
        to.publish(&self.seen, &self.tiers.shared());
    }

    /// Releases every pair that can be released within `patience`.
    ///
    /// # Errors
    /// When a tier fails.
    pub fn drain(&mut self, patience: Duration) -> Result<(), WatchError> {
        self.config.change(|config| {
            config.draining = 1;
            config.mode = Mode::Off;
        })?;
        let deadline = Instant::now() + patience;
        loop {
            self.tiers.look()?;
            self.sweep()?;
            self.tiers.act(&mut self.spaces)?;
            if self.tiers.enrolled() == 0 || Instant::now() >= deadline {
                // Counts what has ended meanwhile.
                return self.sweep();
            }
            thread::sleep(SOON);
        }
    }

    /// Works in the calling thread, until `stopped` is closed; hot pairs are looked at
    /// every `interval`.
    ///
    /// # Errors
    /// When a tier fails.
    pub(super) fn work(
        mut self,
        interval: Duration,
        stopped: &PipeReader,
        steered: &Steering,
    ) -> Result<Self, WatchError> {
        self.interval = interval;
        let mode = self.config.get().mode;
        waiting::hurry();
        self.pulse.beat(&self.tiers)?;
        if self.older {
            self.tiers.discover(&mut self.spaces)?;
        }
        let mut rested = Instant::now();
        loop {
            self.budget.earn(rested.elapsed());
            rested = Instant::now();
            let before = cpu_time();
            self.pulse.beat(&self.tiers)?;
            self.steer(steered, mode)?;
            self.round()?;
            self.spent(cpu_time().saturating_sub(before), steered);
            let pause = self.pause();
            let sleeps = self.tiers.shared().hot == 0;
            self.tiers.sleeps(sleeps);
            // What was noted in between woke nobody.
            let pause = if sleeps && self.tiers.has_notes()? {
                Some(self.budget.wait())
            } else {
                pause
            };
            let procs = self.procs.clone();
            let all = || pids_of(procs.as_deref());
            let (splicers, inspections) = (&mut self.splicers, &mut self.inspections);
            let pause = Pause {
                least: self.budget.wait(),
                most: pause,
            };
            let waits = Instant::now();
            let called = Called {
                stop: stopped,
                steering: steered,
                // Handshakes enrol though nothing is watched yet.
                pulse: (pause.most.is_some() || mode == Mode::Eager)
                    .then_some((&self.pulse, &self.tiers)),
            };
            if waiting::until_stopped(splicers, all, inspections, pause, &called)? {
                return Ok(self);
            }
            if pause.most.is_none_or(|most| waits.elapsed() < most) {
                // Something was shown: the next sweep shall see it soon.
                self.unchanged = 0;
            }
        }
    }
}

/// The processes listed in a file, or all of them.
fn pids_of(procs: Option<&Path>) -> Vec<u32> {
    match procs {
        Some(procs) => {
            let procs = std::fs::read_to_string(procs).unwrap_or_default();
            procs.lines().filter_map(|pid| pid.parse().ok()).collect()
        }
        None => namespaces::processes().collect(),
    }
}
