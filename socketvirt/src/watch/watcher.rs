//! The thread that runs the tiers: it sleeps until there is something to see.

use std::{
    io::{self, PipeWriter},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use socketvirt_common::{
    record::{config::Mode, flow::Traffic, stats::Stats},
    rule::pace::{Budget, Looks},
};

use super::{
    memory,
    scope::Id,
    waiting::{self, Pause, WaitError},
};
use crate::{
    bpf::error::DataPathError,
    datapath::{
        config::ConfigMap,
        spaces::Spaces,
        stats::StatsMap,
        tiers::{TierError, Tiers},
    },
    host::namespaces,
    program::{holders, maps::Made, readers::Readers, splicers::Splicers},
};

/// How often all pairs are looked at, at most.
const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// Of so much time, one part at most is for sweeps: 0.25% of one CPU.
const SWEEP_SHARE: u32 = 400;

/// How long programs may load at the start of eager mode before it goes on
/// without them.
const LOADING: Duration = Duration::from_secs(1);

/// How soon a pair that leaves, or a program that loads, is looked at again.
const SOON: Duration = Duration::from_millis(1);

/// The tiers failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// One of the tiers.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The switches could not be set, or what was found not be written down.
    #[error("writing a map of the data path failed: {0}")]
    Map(#[from] aya::maps::MapError),
    /// The counters could not be read.
    #[error(transparent)]
    Stats(#[from] DataPathError),
    /// Between two looks.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The thread could not be started, or has panicked.
    #[error("the watching thread {0}")]
    Thread(&'static str),
}

/// What is watched, and by which switches.
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
    /// Who may splice by cgroup, for handshakes.
    splicers: Splicers,
    /// Lists the processes whose sockets are watched; all of the host are
    /// without.
    procs: Option<PathBuf>,
    budget: Budget,
    looks: Looks,
    swept: Option<Instant>,
    /// How long the last sweep took.
    sweep: Duration,
    /// What is not among the counters yet.
    live: Traffic,
    /// A reader is still loading.
    loading: bool,
    interval: Duration,
    /// Connections may be older than the data path.
    older: bool,
    /// The cgroup whose sockets are watched, as it is at the time.
    scope: Option<Id>,
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
            looks: Looks::default(),
            swept: None,
            sweep: Duration::ZERO,
            live: Traffic::default(),
            loading: false,
            interval: SOON,
            older: false,
            scope: None,
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

    /// Looks at the programs that are there before a handshake enrols anything,
    /// until all of them have loaded their libraries, or have had the time.
    ///
    /// # Errors
    /// When what it finds cannot be written down.
    pub fn look_first(&mut self) -> Result<(), WatchError> {
        let mut pids = pids_of(self.procs.as_deref());
        // Its libraries are those of most programs, and are known from now on.
        pids.push(std::process::id());
        let deadline = Instant::now() + LOADING;
        while !self.splicers.look(pids.iter().copied())? && Instant::now() < deadline {
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

    /// One round: looks at what is hot, or at everything, and acts.
    fn round(&mut self) -> Result<(), WatchError> {
        self.tiers.look()?;
        if self.sweep_is_due() {
            self.sweep()?;
        }
        let shared = self.tiers.shared();
        if shared.unlooked > 0 {
            self.loading = !self.readers.look(self.splicers.habits())?;
            // Who was waited for may be known now.
            self.tiers.look()?;
        }
        if shared.shared > 0 {
            self.find_holders()?;
            self.tiers.look()?;
        }
        if self.tiers.shared().waiting > 0 {
            self.tiers.act(&mut self.spaces)?;
            self.tiers.look()?;
        }
        Ok(())
    }

    /// Finds who holds the sockets that others may hold, and looks at them.
    fn find_holders(&mut self) -> Result<(), WatchError> {
        let found = self.tiers.holders()?;
        self.loading |= !self.readers.look(self.splicers.habits())?;
        for (end, holders) in holders::by_end(&found) {
            if let Some((references, reason)) = holders.verdict(&self.readers)? {
                self.tiers.held(end, references, reason);
            }
        }
        Ok(())
    }

    fn sweep_is_due(&self) -> bool {
        let every = SWEEP_EVERY.max(self.sweep * SWEEP_SHARE);
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
        if self.maps.any() {
            self.readers.find_maps()?;
        }
        let began = cpu_time();
        self.live = self.tiers.sweep()?;
        self.sweep = cpu_time().saturating_sub(began);
        self.swept = Some(Instant::now());
        Ok(())
    }

    /// How long to wait before the next round; for ever while nothing is
    /// watched.
    fn pause(&self) -> Option<Duration> {
        let shared = self.tiers.shared();
        let owed = self.budget.wait();
        if shared.hot > 0 || shared.waiting > 0 || self.loading {
            return Some(owed.max(self.interval));
        }
        if shared.pairs == 0 {
            return None;
        }
        let every = SWEEP_EVERY.max(self.sweep * SWEEP_SHARE);
        let since = self.swept.map_or(every, |at| at.elapsed());
        Some(owed.max(every.saturating_sub(since)))
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

    /// Watches in a thread of its own, which may enter other namespaces; hot
    /// pairs are looked at every `interval`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut self, interval: Duration) -> Result<Watching, WatchError> {
        self.interval = interval;
        let (stopped, stop) = io::pipe().map_err(WaitError::from)?;
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || {
                waiting::hurry();
                if self.older {
                    self.tiers.discover(&mut self.spaces)?;
                }
                let mut rested = Instant::now();
                loop {
                    self.budget.earn(rested.elapsed());
                    rested = Instant::now();
                    let before = cpu_time();
                    self.round()?;
                    self.budget.spend(cpu_time().saturating_sub(before));
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
                    let (splicers, looks) = (&mut self.splicers, &mut self.looks);
                    let pause = Pause {
                        least: self.budget.wait(),
                        most: pause,
                    };
                    if waiting::until_stopped(splicers, all, looks, pause, &stopped)? {
                        return Ok(self);
                    }
                }
            })
            .map_err(|_| WatchError::Thread("could not be started"))?;
        Ok(Watching { stop, thread })
    }
}

/// A watcher at work.
pub struct Watching {
    stop: PipeWriter,
    thread: JoinHandle<Result<Watcher, WatchError>>,
}

impl Watching {
    /// Ends the work, drains, and gives the counters of everything.
    ///
    /// # Errors
    /// When a tier failed, then or earlier.
    pub fn finish(self, patience: Duration) -> Result<Stats, WatchError> {
        drop(self.stop);
        let mut watcher = self
            .thread
            .join()
            .map_err(|_| WatchError::Thread("has panicked"))??;
        // A fresh thread, since this one must not leave its namespace.
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    watcher.drain(patience)?;
                    watcher.stats()
                })
                .join()
                .map_err(|_| WatchError::Thread("has panicked"))?
        })
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

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
