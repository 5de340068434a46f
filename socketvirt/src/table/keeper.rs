//! Keeping the table: rows in `sv_sockets` that follow each socket's life,
//! for as long as this value lives.

use std::{
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::{
    Btf, Ebpf,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray},
    programs::{CgroupAttachMode, CgroupSock, Program, ProgramError, SockOps},
};
use nix::time::{ClockId, clock_gettime};
use socketvirt_common::{event::TableStats, pace, row::Row, status::Status};

use super::{
    TableError,
    iterator::Iterator,
    source::{self, Namespaces},
};
use crate::{
    agent::datapath::DataPathError,
    kernel::{bpffs, cgroup, owner::Lock, require},
};

/// The maps that others may open.
pub const SHARED: [&str; 4] = ["sv_sockets", "sv_events", "sv_follow", "sv_table_stats"];

/// How long the row of a closed socket stays.
const AFTER_THE_END: Duration = Duration::from_secs(30);

/// What is kept, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows at most.
    pub rows: u32,
    /// The shortest time from one scan to the next.
    pub interval: Duration,
    /// Whether others may open the maps, at `/sys/fs/bpf/socketvirt`.
    pub shared: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows: 65_536,
            interval: Duration::from_secs(1),
            shared: true,
        }
    }
}

/// The table at work. Dropped, it takes everything away.
pub struct Keeper {
    // Dropped in this order: the scans first, the programs last.
    scanning: Option<Scanning>,
    _shared: Option<Shared>,
    maps: Maps,
    ebpf: Ebpf,
}

/// The maps in the BPF file system.
struct Shared {
    folder: PathBuf,
    _lock: Lock,
}

struct Scanning {
    stop: Sender<()>,
    thread: JoinHandle<Result<(), TableError>>,
}

/// Handles on the maps of a table that is kept.
pub struct Maps {
    sockets: HashMap<MapData, u64, Row>,
    stats: PerCpuArray<MapData, TableStats>,
}

fn map(attempt: &'static str) -> impl FnOnce(MapError) -> TableError {
    move |source| {
        TableError::DataPath(DataPathError::Map {
            attempt,
            source: Box::new(source),
        })
    }
}

fn program(name: &'static str) -> impl FnOnce(ProgramError) -> TableError {
    move |source| {
        TableError::DataPath(DataPathError::Program {
            name,
            source: Box::new(source),
        })
    }
}

impl Keeper {
    /// Attaches the hooks to all sockets of the host, and scans once for those
    /// that exist already.
    ///
    /// # Errors
    /// When the kernel refuses, or a table is kept already.
    pub fn start(options: &Options) -> Result<Self, TableError> {
        require::check()?;
        let shared = options.shared.then(Shared::make).transpose()?;
        let btf = Btf::from_sys_fs().map_err(DataPathError::from)?;
        let mut ebpf = source::keeping(&btf, options.rows)?;
        if let Some(shared) = &shared {
            for name in SHARED {
                let map = ebpf.map(name).ok_or(DataPathError::Missing(name))?;
                map.pin(shared.folder.join(name))
                    .map_err(|source| DataPathError::Pin {
                        name: name.to_owned(),
                        source: Box::new(source),
                    })?;
            }
        }
        attach(&mut ebpf)?;
        let iterators = source::iterators(&mut ebpf, &btf)?;
        let scanned = again(&ebpf)?;
        let maps = Maps::take(&mut ebpf)?;
        let mut keeper = Self {
            scanning: None,
            _shared: shared,
            maps,
            ebpf,
        };
        let mut scan = Scan {
            iterators,
            sockets: scanned,
        };
        scan.pass()?;
        keeper.scanning = Some(scan.start(options.interval)?);
        Ok(keeper)
    }

    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Takes a map that nobody else here needs.
    pub fn take_map(&mut self, name: &str) -> Option<Map> {
        self.ebpf.take_map(name)
    }

    /// Whether the scans still go on.
    #[must_use]
    pub fn is_scanning(&self) -> bool {
        self.scanning
            .as_ref()
            .is_some_and(|scanning| !scanning.thread.is_finished())
    }

    /// Ends the scans and takes everything away.
    ///
    /// # Errors
    /// When a scan had failed.
    pub fn finish(mut self) -> Result<TableStats, TableError> {
        if let Some(scanning) = self.scanning.take() {
            scanning.end()?;
        }
        self.maps.stats()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(scanning) = self.scanning.take() {
            // On the way out with another error.
            let _ = scanning.end();
        }
    }
}

impl Scanning {
    fn end(self) -> Result<(), TableError> {
        drop(self.stop);
        self.thread
            .join()
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    }
}

/// Where the maps of a kept table are, when one is kept.
#[must_use]
pub fn kept() -> Option<PathBuf> {
    let folder = bpffs::mounted().ok()??.join("socketvirt");
    (folder.join("sv_sockets").exists() && Lock::is_held(&folder)).then_some(folder)
}

impl Shared {
    fn make() -> Result<Self, TableError> {
        let refused = |attempt| move |source| TableError::Iterate { attempt, source };
        let folder = bpffs::mount_point()
            .map_err(require::Requirement::from)?
            .join("socketvirt");
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(refused("making the folder of pinned maps")(error));
            }
            _ => {}
        }
        let lock = Lock::take(&folder).map_err(|_| TableError::Kept)?;
        let shared = Self {
            folder,
            _lock: lock,
        };
        // Of one that was killed.
        shared.clear();
        Ok(shared)
    }

    fn clear(&self) {
        for name in SHARED {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.clear();
        // Fails while runs have folders in it, which is as it should be.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Attaches the hooks to the topmost cgroup. The links go with the object, so
/// that nothing is left whatever happens to this process.
fn attach(ebpf: &mut Ebpf) -> Result<(), TableError> {
    let mounts = cgroup::mounts().map_err(require::Requirement::from)?;
    let top = mounts
        .first()
        .map_or(Path::new("/sys/fs/cgroup"), |mount| &mount.point);
    let top = fs::File::open(top).map_err(|source| TableError::Iterate {
        attempt: "opening the topmost cgroup",
        source,
    })?;
    for name in [
        "sv_table_create",
        "sv_table_bind4",
        "sv_table_bind6",
        "sv_table_close",
        "sv_table_ops",
    ] {
        let found: &mut Program = ebpf.program_mut(name).ok_or(DataPathError::Missing(name))?;
        match found {
            Program::CgroupSock(found) => {
                let found: &mut CgroupSock = found;
                found.load().map_err(program(name))?;
                found
                    .attach(&top, CgroupAttachMode::Single)
                    .map_err(program(name))?;
            }
            Program::SockOps(found) => {
                let found: &mut SockOps = found;
                found.load().map_err(program(name))?;
                found
                    .attach(&top, CgroupAttachMode::Single)
                    .map_err(program(name))?;
            }
            _ => return Err(DataPathError::Missing(name).into()),
        }
    }
    Ok(())
}

impl Maps {
    fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        let mut take = |name| ebpf.take_map(name).ok_or(DataPathError::Missing(name));
        Ok(Self {
            sockets: HashMap::try_from(take("sv_sockets")?).map_err(map("opening sv_sockets"))?,
            stats: PerCpuArray::try_from(take("sv_table_stats")?)
                .map_err(map("opening sv_table_stats"))?,
        })
    }

    /// Those of a table that is kept in `folder`.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        let pinned =
            |name: &str| MapData::from_pin(folder.join(name)).map_err(map("opening a pinned map"));
        Ok(Self {
            sockets: HashMap::try_from(Map::HashMap(pinned("sv_sockets")?))
                .map_err(map("opening sv_sockets"))?,
            stats: PerCpuArray::try_from(Map::PerCpuArray(pinned("sv_table_stats")?))
                .map_err(map("opening sv_table_stats"))?,
        })
    }

    /// All rows that can be read.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        rows(&self.sockets)
    }

    /// The sum of the counters over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn stats(&self) -> Result<TableStats, TableError> {
        let values = self
            .stats
            .get(&0, 0)
            .map_err(map("reading sv_table_stats"))?;
        Ok(values.iter().fold(TableStats::default(), |mut sum, one| {
            sum.add(one);
            sum
        }))
    }
}

/// A second handle on the rows.
fn again(ebpf: &Ebpf) -> Result<HashMap<MapData, u64, Row>, TableError> {
    let Some(Map::HashMap(data)) = ebpf.map("sv_sockets") else {
        return Err(DataPathError::Missing("sv_sockets").into());
    };
    let fd = data
        .fd()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| TableError::Iterate {
            attempt: "opening sv_sockets once more",
            source,
        })?;
    let data = MapData::from_fd(fd).map_err(map("opening sv_sockets once more"))?;
    HashMap::try_from(Map::HashMap(data)).map_err(map("opening sv_sockets once more"))
}

/// Rows that come and go meanwhile may be among them or not.
fn rows(map: &HashMap<MapData, u64, Row>) -> Vec<Row> {
    map.keys()
        .filter_map(Result::ok)
        .filter_map(|id| map.get(&id, 0).ok())
        .collect()
}

/// The scans.
struct Scan {
    iterators: Vec<(&'static str, Iterator)>,
    sockets: HashMap<MapData, u64, Row>,
}

fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
    })
}

impl Scan {
    /// Looks at every socket, then takes away what is over.
    fn pass(&mut self) -> Result<(), TableError> {
        let began = now();
        source::visit(&self.iterators, &Namespaces::All, &mut Vec::new())?;
        for mut row in rows(&self.sockets) {
            let since = row.history.iter().last().map_or(row.seen, |step| step.at);
            if row.status == Status::TERMINATED {
                let age = Duration::from_nanos(began.saturating_sub(since));
                if age > AFTER_THE_END {
                    // A hook may have given it up already.
                    let _ = self.sockets.remove(&row.id);
                }
            } else if row.seen < began {
                // Neither a hook nor the scan has met it: it went unseen.
                row.status = Status::TERMINATED;
                row.history.note(now(), Status::TERMINATED, true);
                let _ = self.sockets.insert(row.id, row, 2);
            }
        }
        Ok(())
    }

    fn start(mut self, interval: Duration) -> Result<Scanning, TableError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("table".into())
            .spawn(move || {
                let mut cost = Duration::ZERO;
                loop {
                    match stopped.recv_timeout(pace::pause(cost, interval)) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                    let before = cpu_time();
                    self.pass()?;
                    cost = cpu_time().saturating_sub(before);
                }
            })
            .map_err(|source| TableError::Iterate {
                attempt: "starting the scanning thread",
                source,
            })?;
        Ok(Scanning { stop, thread })
    }
}

/// CPU time of the process's threads that scan: one at a time does.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
