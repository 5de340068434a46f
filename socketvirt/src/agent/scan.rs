//! Scans: reading the pinned iterator makes the kernel visit every TCP socket
//! of a namespace and run `sv_scan` on it. Here is when and where.

use std::{
    fs::{self, File},
    io::{self, PipeWriter, Read as _},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use socketvirt_common::{
    config::Mode,
    pace::{self, Looks},
    pair::EndKey,
    stats::Stats,
};

use super::{
    config::ConfigMap,
    datapath::{DataPathError, StatsMap},
    memory, pins,
    scope::again::Id,
    splicers::Splicers,
    sys,
    turns::Turns,
    waiting::{self, WaitError},
};
use crate::kernel::namespaces::{self, NetNamespace, NetNamespaces};

/// Further passes right behind a measuring one, while they have work to do.
/// Adopting takes two: one for each end.
const FURTHER_PASSES: u32 = 6;

/// How long programs may load at the start before scans go on without them.
const LOADING: Duration = Duration::from_secs(1);

/// How often the namespaces are looked for anew.
const NAMESPACES_EVERY: Duration = Duration::from_secs(1);

/// A scan failed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The kernel refused the iteration.
    #[error("reading the TCP iterator {path} failed: {source}")]
    Iterate {
        /// The pinned iterator.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The switches could not be set.
    #[error("setting the switches of a scan failed: {0}")]
    Switch(#[from] aya::maps::MapError),
    /// The counters could not be read.
    #[error(transparent)]
    Stats(#[from] DataPathError),
    /// Between two scans.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The thread could not be started, or has panicked.
    #[error("the scanning thread {0}")]
    Thread(&'static str),
}

/// What is scanned, and by which switches.
///
/// It enters namespaces: [`Scanner::scan`] must be called in a thread that
/// does nothing else.
pub struct Scanner {
    iterator: PathBuf,
    config: ConfigMap,
    stats: StatsMap,
    splicers: Splicers,
    /// Lists the processes whose namespaces are scanned; all of the host are
    /// without.
    procs: Option<PathBuf>,
    own: Option<NetNamespace>,
    namespaces: NetNamespaces,
    looked: Option<Instant>,
    looks: Looks,
    scope: Option<Id>,
}

impl Scanner {
    /// Scans with the iterator pinned in `folder`, in this process's network
    /// namespace and those of the processes listed in `procs`, or of all.
    #[must_use]
    pub fn new(
        folder: &Path,
        config: ConfigMap,
        stats: StatsMap,
        splicers: Splicers,
        procs: Option<PathBuf>,
    ) -> Self {
        Self {
            iterator: folder.join(pins::SCAN_LINK),
            config,
            stats,
            splicers,
            procs,
            own: NetNamespace::own().ok(),
            namespaces: NetNamespaces::default(),
            looked: None,
            looks: Looks::default(),
            scope: None,
        }
    }

    /// Scans for connections of the cgroup that has this id at the time.
    pub fn follow(&mut self, scope: Id) {
        self.scope = Some(scope);
    }

    /// The switches.
    pub fn config(&mut self) -> &mut ConfigMap {
        &mut self.config
    }

    /// The counters as they are; what sockets sent since the last scan is not
    /// among them yet.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn stats(&self) -> Result<Stats, ScanError> {
        Ok(self.stats.read()?)
    }

    /// Sets every counter to zero.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn reset_stats(&mut self) -> Result<(), ScanError> {
        Ok(self.stats.reset()?)
    }

    /// One scan: a measuring pass, and further ones while there is work.
    ///
    /// # Errors
    /// When the kernel refuses a pass.
    pub fn scan(&mut self) -> Result<(), ScanError> {
        let pids = self.pids();
        self.look_for_namespaces(&pids);
        self.splicers.look(pids)?;
        self.splicers
            .look_at_begun(|| pids_of(self.procs.as_deref()))?;
        let pressure = memory::tcp_is_short();
        let mut waiting = self.stats.read()?.waiting;
        let turns = Turns::begin();
        self.pass(true, pressure)?;
        for _ in 0..FURTHER_PASSES {
            let now = self.stats.read()?.waiting;
            if now == waiting {
                break;
            }
            waiting = now;
            turns.next();
            self.pass(false, pressure)?;
        }
        Ok(())
    }

    fn pass(&mut self, measure: bool, pressure: bool) -> Result<(), ScanError> {
        let scope = self.scope.as_ref().map(Id::get);
        self.config.change(|config| {
            config.scan += 1;
            config.cgroup = scope.unwrap_or(config.cgroup);
            config.measure = u32::from(measure);
            config.memory_pressure = u32::from(pressure);
        })?;
        // The own one last, so that the thread ends a pass where it began.
        let own = self.own.as_ref();
        let is_own = |other: &NetNamespace| own.map(NetNamespace::inode) == Some(other.inode());
        for namespace in self
            .namespaces
            .iter()
            .filter(|other| !is_own(other))
            .chain(own)
        {
            if namespace.enter().is_ok() {
                iterate(&self.iterator)?;
            }
        }
        Ok(())
    }

    /// The processes whose sockets are scanned.
    fn pids(&self) -> Vec<u32> {
        pids_of(self.procs.as_deref())
    }

    /// Looks at the programs that are there before anything is enrolled, until
    /// all of them have loaded their libraries, or have had the time.
    ///
    /// # Errors
    /// When what it finds cannot be written down.
    pub fn look_first(&mut self) -> Result<(), ScanError> {
        let mut pids = self.pids();
        // Its libraries are those of most programs, and are known from now on.
        pids.push(std::process::id());
        let deadline = Instant::now() + LOADING;
        while !self.splicers.look(pids.iter().copied())? && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn look_for_namespaces(&mut self, pids: &[u32]) {
        if self
            .looked
            .is_none_or(|at| at.elapsed() >= NAMESPACES_EVERY)
        {
            self.namespaces
                .refresh(pids.iter().copied(), self.procs.is_none());
            self.looked = Some(Instant::now());
        }
    }

    /// Releases every pair that can be released within `patience`.
    ///
    /// # Errors
    /// When a scan fails.
    pub fn drain(&mut self, patience: Duration) -> Result<(), ScanError> {
        self.config.change(|config| {
            config.draining = 1;
            config.mode = Mode::Off;
        })?;
        let fast = self.iterator.with_file_name(pins::FAST);
        let deadline = Instant::now() + patience;
        loop {
            self.scan()?;
            if enrolled(&fast) == 0 || Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Scans in a thread of its own, which may enter other namespaces.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut self, interval: Duration) -> Result<Scanning, ScanError> {
        let (stopped, stop) = io::pipe().map_err(WaitError::from)?;
        let thread = thread::Builder::new()
            .name("scan".into())
            .spawn(move || {
                waiting::hurry();
                loop {
                    let before = cpu_time();
                    self.scan()?;
                    let cost = cpu_time().saturating_sub(before);
                    let procs = self.procs.clone();
                    let all = || pids_of(procs.as_deref());
                    let pause = pace::pause(cost, interval);
                    let looks = &mut self.looks;
                    if waiting::until_stopped(&mut self.splicers, all, looks, pause, &stopped)? {
                        return Ok(self);
                    }
                }
            })
            .map_err(|_| ScanError::Thread("could not be started"))?;
        Ok(Scanning { stop, thread })
    }
}

/// A scanner at work.
pub struct Scanning {
    stop: PipeWriter,
    thread: JoinHandle<Result<Scanner, ScanError>>,
}

impl Scanning {
    /// Ends the work, drains, and gives the counters of everything.
    ///
    /// # Errors
    /// When a scan failed, then or earlier.
    pub fn finish(self, patience: Duration) -> Result<Stats, ScanError> {
        drop(self.stop);
        let mut scanner = self
            .thread
            .join()
            .map_err(|_| ScanError::Thread("has panicked"))??;
        // A fresh thread, since this one must not leave its namespace.
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    scanner.drain(patience)?;
                    scanner.stats()
                })
                .join()
                .map_err(|_| ScanError::Thread("has panicked"))?
        })
    }
}

/// The processes listed in a file, or all of them.
fn pids_of(procs: Option<&Path>) -> Vec<u32> {
    match procs {
        Some(procs) => {
            let procs = fs::read_to_string(procs).unwrap_or_default();
            procs.lines().filter_map(|pid| pid.parse().ok()).collect()
        }
        None => namespaces::processes().collect(),
    }
}

/// Runs one pass in the namespace of the calling thread.
///
/// # Errors
/// When the kernel refuses it.
pub fn iterate(iterator: &Path) -> Result<(), ScanError> {
    let read = || -> io::Result<()> {
        let mut iteration = File::open(iterator)?;
        // The program prints nothing, so this reads to the end at once; an
        // interrupted read is where the iteration yields.
        let mut buffer = [0; 64];
        loop {
            match iteration.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    read().map_err(|source| ScanError::Iterate {
        path: iterator.to_owned(),
        source,
    })
}

/// How many sockets are enrolled in the map pinned at `fast`; 0 when it is
/// not there.
#[must_use]
pub fn enrolled(fast: &Path) -> usize {
    let Ok(map) = aya::maps::MapData::from_pin(fast) else {
        return 0;
    };
    sys::keys(map.fd(), EndKey::default())
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
