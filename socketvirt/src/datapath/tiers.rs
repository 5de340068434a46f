//! The agent's hands on the tiers: runs looks, walks namespaces.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::atomic::{Ordering, compiler_fence},
    time::Duration,
};

use aya::{
    maps::{Array, HashMap, Map, MapData, MapError},
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use nix::time::{ClockId, clock_gettime};
use socketvirt_common::{
    reason::Reason,
    record::{
        flow::Traffic,
        raw::Raw,
        reader::{Holding, Process},
        watch::{PAIRS, Run, Stage, Tiers as Shared, Watched},
    },
};

use super::{home, spaces::Spaces};
use crate::host::{mapping::Mapping, namespaces::NetNamespace};

/// Places that one run of the watch program sweeps, at most: nothing else runs
/// on its CPU meanwhile.
const SWEEP_AT_ONCE: u64 = 1024;

/// Notes that one run takes in, at most.
const NOTES_AT_ONCE: u64 = 4096;

/// A tier failed.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The kernel refused a walk.
    #[error("walking the TCP sockets by {path} failed: {source}")]
    Walk {
        /// The pinned iterator.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The watch program.
    #[error("running the watch program failed: {0}")]
    Program(#[from] ProgramError),
    /// A map of the tiers.
    #[error("opening a map of the tiers failed: {0}")]
    Map(#[from] MapError),
    /// Memory that the kernel side shares.
    #[error("mapping what the tiers share failed: {0}")]
    Mapping(#[from] io::Error),
}

/// The tiers of a data path.
pub struct Tiers {
    program: RawTracePoint,
    shared: Mapping,
    fresh: Array<MapData, u64>,
    noted: Array<MapData, u64>,
    spaces: HashMap<MapData, u32, u32>,
    processes: HashMap<MapData, u64, Raw<Process>>,
    ends: HashMap<MapData, u64, u32>,
    pairs: Pairs,
    shared_files: HashMap<MapData, u64, u64>,
    folder: PathBuf,
    /// Added to the time of each look, for checks that cannot wait.
    pub(crate) later: Duration,
}

impl Tiers {
    /// Those whose objects are pinned in `folder`.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn open(folder: &Path) -> Result<Self, TierError> {
        let map = |name: &str| MapData::from_pin(folder.join(name));
        let tiers = map("sv_tiers")?;
        let shared = Mapping::shared(tiers.fd().as_fd(), size_of::<Shared>())?;
        Ok(Self {
            program: RawTracePoint::from_pin(folder.join(home::WATCH))?,
            shared,
            fresh: Array::try_from(Map::Array(map("sv_fresh")?))?,
            noted: Array::try_from(Map::Array(map("sv_noted")?))?,
            spaces: HashMap::try_from(Map::HashMap(map("sv_spaces")?))?,
            processes: HashMap::try_from(Map::LruHashMap(map("sv_processes")?))?,
            ends: HashMap::try_from(Map::HashMap(map("sv_ends")?))?,
            pairs: Pairs::map(&map("sv_watched")?)?,
            shared_files: HashMap::try_from(Map::HashMap(map("sv_shared")?))?,
            folder: folder.to_owned(),
            later: Duration::ZERO,
        })
    }

    /// Returns a copy of the state that the tiers share.
    #[must_use]
    pub fn shared(&self) -> Shared {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the mapping has that size, and any bytes are a value of it
        // (`FromBytes`); a torn one is one of a moment ago.
        unsafe { self.start().read_volatile() }
    }

    fn start(&self) -> *mut Shared {
        self.shared.start().as_ptr().cast()
    }

    /// Changes what is shared. The kernel side writes it only while the caller
    /// runs a program, but for `asleep`.
    fn change(&self, change: impl FnOnce(*mut Shared)) {
        change(self.start());
        compiler_fence(Ordering::SeqCst);
    }

    /// Says whether the agent sleeps, and is to be woken.
    pub fn sleeps(&self, asleep: bool) {
        // SAFETY: a field of the mapping.
        self.change(|shared| unsafe {
            (&raw mut (*shared).asleep).write_volatile(u64::from(asleep));
        });
    }

    /// True when pairs were noted that were not taken in.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn has_notes(&self) -> Result<bool, TierError> {
        Ok(self.noted.get(&0, 0)? != self.shared().taken)
    }

    fn run(&self, what: Run, first: u64, many: u64) -> Result<(), TierError> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let now = u64::try_from((now + self.later).as_nanos()).unwrap_or(u64::MAX);
        let mut options = RawTracePointRunOptions::new();
        options.args[..4].copy_from_slice(&[now, what as u64, first, many]);
        self.program.test_run(options)?;
        Ok(())
    }

    /// Says that the agent watches.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn beat(&self) -> Result<(), TierError> {
        self.run(Run::Beat, 0, 0)
    }

    /// Takes in what was noted, and looks at the hot pairs.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn look(&self) -> Result<(), TierError> {
        self.forget_looks();
        while self.has_notes()? {
            self.run(Run::Notes, 0, NOTES_AT_ONCE)?;
        }
        if self.shared().hot > 0 {
            self.run(Run::Hot, 0, 0)?;
        }
        Ok(())
    }

    /// Looks at every pair, and gives what those with a flow have sent that is
    /// not among the counters.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn sweep(&self) -> Result<Traffic, TierError> {
        self.forget_looks();
        // SAFETY: fields of the mapping.
        self.change(|shared| unsafe {
            (&raw mut (*shared).live).write_volatile(Traffic::default());
            (&raw mut (*shared).enrolled).write_volatile(0);
        });
        let places = self.fresh.get(&0, 0)?;
        let mut first = 0;
        while first < places {
            let many = SWEEP_AT_ONCE.min(places - first);
            self.run(Run::Sweep, first, many)?;
            first += many;
        }
        Ok(self.shared().live)
    }

    /// The looks that follow count anew what they meet.
    fn forget_looks(&self) {
        // SAFETY: fields of the mapping.
        self.change(|shared| unsafe {
            (&raw mut (*shared).uninspected).write_volatile(0);
            (&raw mut (*shared).shared).write_volatile(0);
            (&raw mut (*shared).unnamed).write_volatile(0);
        });
    }

    /// Visits the sockets that wait, in each namespace that has some. The calling
    /// thread must be nobody else's; it ends in its own namespace.
    ///
    /// # Errors
    /// When the kernel refuses a walk.
    pub fn act(&mut self, spaces: &mut Spaces) -> Result<(), TierError> {
        let waiting: Vec<(u32, u32)> = self.spaces.iter().filter_map(Result::ok).collect();
        let mut away = false;
        for (number, waiting) in waiting {
            if waiting == 0 {
                // It comes again with the next socket that waits there.
                let _ = self.spaces.remove(&number);
                continue;
            }
            let is_own = |own: &NetNamespace| own.inode() == u64::from(number);
            if spaces.own().is_some_and(is_own) {
                if away {
                    away = !go_home(spaces);
                }
            } else {
                let Some(namespace) = spaces.open(number) else {
                    continue;
                };
                if namespace.enter().is_err() {
                    continue;
                }
                away = true;
            }
            self.walk(waiting)?;
        }
        if away {
            go_home(spaces);
        }
        Ok(())
    }

    /// Visits sockets in the namespace of the calling thread, until `waiting` of
    /// them were served.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn walk(&self, waiting: u32) -> Result<(), TierError> {
        // SAFETY: a field of the mapping.
        self.change(|shared| unsafe {
            (&raw mut (*shared).waiting_here).write_volatile(waiting);
        });
        // One byte: the walk ends where the program writes it.
        read(&self.folder.join(home::ACT_LINK), &mut [0; 1])
    }

    /// Notes the pairs that are older than the data path, in each namespace. A host
    /// with many takes longer than an agent may be silent.
    ///
    /// # Errors
    /// When the kernel refuses a walk.
    pub fn discover(&self, spaces: &mut Spaces) -> Result<(), TierError> {
        let path = self.folder.join(home::DISCOVER_LINK);
        let mut walked = Ok(());
        spaces.each(|namespace| {
            if walked.is_ok() && namespace.enter().is_ok() {
                walked = self.beat().and_then(|()| read(&path, &mut [0; 64]));
            }
        });
        go_home(spaces);
        walked
    }

    /// Takes a process for harmless that was not inspected: the caller's own,
    /// whose sockets are those of checks.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn trust(&mut self, pid: u32) -> Result<(), TierError> {
        let known: Vec<_> = self.processes.iter().filter_map(Result::ok).collect();
        for (name, process) in known {
            let process = process.value()?;
            if process.pid == pid {
                let reason = Reason::None;
                let harmless = Process { reason, ..process };
                self.processes.insert(name, Raw::of(harmless), 0)?;
            }
        }
        Ok(())
    }

    /// Returns the reason that a watched socket is on the stack, as the last look found.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn reason(&self, cookie: u64) -> Result<Option<Reason>, TierError> {
        let known = match self.ends.get(&cookie, 0) {
            Ok(known) => known,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let pair = self.pairs.get(known >> 1);
        let raw = pair.map(|pair| {
            let side = usize::from(known & 1 != 0);
            // SAFETY: a place of the mapping, whose bytes `Raw` takes whatever they are.
            unsafe {
                let reason = &raw const (*pair.as_ptr()).ends[side].reason;
                reason.cast::<Raw<Reason>>().read_volatile()
            }
        });
        Ok(raw.map(|reason| reason.value()).transpose()?)
    }

    /// Finds the processes that hold sockets of which looks did not know all
    /// holders.
    ///
    /// # Errors
    /// When the kernel refuses the walk.
    pub fn holders(&mut self) -> Result<Vec<Holding>, TierError> {
        let found = read_all(&self.folder.join(home::HOLDERS_LINK))?;
        // Asked for again by the next look, if they are not known then.
        let asked: Vec<u64> = self.shared_files.keys().filter_map(Result::ok).collect();
        for file in asked {
            let _ = self.shared_files.remove(&file);
        }
        let (records, _) = found.as_chunks::<{ size_of::<Holding>() }>();
        Ok(records
            .iter()
            .map(|record| zerocopy::transmute!(*record))
            .collect())
    }

    /// Says of an end that all holders are known up to so many references, and
    /// why they keep it on the stack.
    pub fn held(&self, end: u32, references: u32, reason: Reason) {
        let Some(pair) = self.pairs.get(end >> 1) else {
            return;
        };
        let at = usize::from(end & 1 != 0);
        // SAFETY: fields of a place in the mapping that the agent alone writes.
        unsafe {
            (&raw mut (*pair.as_ptr()).ends[at].holder).write_volatile(reason);
            (&raw mut (*pair.as_ptr()).ends[at].holders).write_volatile(references);
        }
    }

    /// Says whether receive calls are not watched: then no end has a reader.
    pub fn blind(&self, blind: bool) {
        // SAFETY: a field of the mapping.
        self.change(|shared| unsafe {
            (&raw mut (*shared).blind).write_volatile(u32::from(blind));
        });
    }

    /// Forgets who reads which socket: it is unknown until the next receive call
    /// tells.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn forget_readers(&self) -> Result<(), TierError> {
        let places = u32::try_from(self.fresh.get(&0, 0)?).unwrap_or(PAIRS);
        for pair in (0..places).map_while(|place| self.pairs.get(place)) {
            for side in 0..2 {
                // SAFETY: a field of a place in the mapping. Receive calls write it
                // too: what they write later stays.
                unsafe { (&raw mut (*pair.as_ptr()).ends[side].reader).write_volatile(0) };
            }
        }
        Ok(())
    }

    /// Returns the cookies of both ends of each pair of which an end is enrolled.
    #[must_use]
    pub fn enrolled_sockets(&self) -> Vec<u64> {
        let places = self.fresh.get(&0, 0).unwrap_or(0);
        let places = u32::try_from(places).unwrap_or(PAIRS);
        let mut found = Vec::new();
        for pair in (0..places).map_while(|place| self.pairs.get(place)) {
            // SAFETY: a place of the mapping, whose bytes `Raw` takes whatever they are.
            let pair = unsafe { pair.cast::<Raw<Watched>>().read_volatile() };
            // One that changes while it is read may be none.
            if let Ok(pair) = pair.value()
                && matches!(pair.stage, Stage::Enrolled | Stage::Leaving)
            {
                found.extend(pair.ends.iter().map(|end| end.cookie));
            }
        }
        found
    }

    /// Number of enrolled sockets.
    #[must_use]
    pub fn enrolled(&self) -> usize {
        home::enrolled(&self.folder.join(home::FAST))
    }
}

/// The watched pairs, as memory.
struct Pairs(Mapping);

impl Pairs {
    fn map(map: &MapData) -> io::Result<Self> {
        let length = PAIRS as usize * size_of::<Watched>();
        Mapping::shared(map.fd().as_fd(), length).map(Self)
    }

    fn get(&self, place: u32) -> Option<NonNull<Watched>> {
        let first: NonNull<Watched> = self.0.start().cast();
        // SAFETY: within the mapping.
        (place < PAIRS).then(|| unsafe { first.add(place as usize) })
    }
}

fn go_home(spaces: &Spaces) -> bool {
    spaces.own().is_some_and(|own| own.enter().is_ok())
}

/// Reads a pinned iterator until it gives something, or to its end.
fn read(iterator: &Path, buffer: &mut [u8]) -> Result<(), TierError> {
    let mut read = || -> io::Result<()> {
        let mut walk = File::open(iterator)?;
        loop {
            match walk.read(buffer) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Where the kernel has looked at a million sockets at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    read().map_err(|source| TierError::Walk {
        path: iterator.to_owned(),
        source,
    })
}

/// Reads all that a pinned iterator gives.
fn read_all(iterator: &Path) -> Result<Vec<u8>, TierError> {
    let mut all = Vec::new();
    let read = File::open(iterator).and_then(|mut walk| walk.read_to_end(&mut all));
    match read {
        Ok(_) => Ok(all),
        Err(source) => Err(TierError::Walk {
            path: iterator.to_owned(),
            source,
        }),
    }
}
