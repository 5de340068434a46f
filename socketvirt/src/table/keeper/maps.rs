//! The maps of a kept table: where others find them, and what they hold.

use std::{
    collections::HashMap as Known,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use socketvirt_common::record::{event::TableStats, raw::Raw, row::Row};

use crate::{
    bpf::{error::BpfError, object},
    host::{bpffs, owner::Lock},
    kernel::require,
    table::{TableError, life, ring::Ring},
};

/// The maps that others may open.
pub const SHARED: [&str; 5] = [
    object::BUILD,
    "sv_sockets",
    "sv_events",
    "sv_cursor",
    "sv_table",
];

/// Attempts to lock the folder, before somebody else is said to keep a table.
const ATTEMPTS: u32 = 20;

/// Between two attempts; who only looks holds the lock for less.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn map(attempt: &'static str) -> impl FnOnce(MapError) -> TableError {
    move |source| {
        TableError::Bpf(BpfError::Map {
            attempt,
            source: Box::new(source),
        })
    }
}

/// The maps in the BPF file system.
pub(super) struct Shared {
    folder: PathBuf,
    _lock: Lock,
}

/// Where the maps of a kept table are, when one is kept.
#[must_use]
pub fn kept() -> Option<PathBuf> {
    let folder = bpffs::mounted().ok()??.join("socketvirt");
    (folder.join("sv_sockets").exists() && Lock::is_held(&folder)).then_some(folder)
}

impl Shared {
    pub(super) fn make() -> Result<Self, TableError> {
        let folder = bpffs::mount_point()
            .map_err(require::Requirement::from)?
            .join("socketvirt");
        let mut attempt = 1;
        let lock = loop {
            match fs::create_dir(&folder) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(TableError::Folder { folder, source });
                }
                _ => {}
            }
            match Lock::take(&folder) {
                // A run that ends may have removed the folder, then empty, before it was locked.
                Ok(lock) if lock.is_of(&folder) => break lock,
                Err(_) if attempt >= ATTEMPTS => {
                    return Err(TableError::Kept(Lock::holder(&folder)));
                }
                // Also where somebody looks at this moment whether it is locked.
                _ => thread::sleep(PAUSE),
            }
            attempt += 1;
        };
        let shared = Self {
            folder,
            _lock: lock,
        };
        // Of one that was killed.
        shared.clear();
        Ok(shared)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets others open the maps.
    pub(super) fn pin(&self, ebpf: &mut Ebpf) -> Result<(), TableError> {
        let build = ebpf.map_mut(object::BUILD);
        object::mark(build.ok_or(BpfError::Missing(object::BUILD))?)
            .map_err(map("writing sv_build"))?;
        for name in SHARED {
            let map = ebpf.map(name).ok_or(BpfError::Missing(name))?;
            map.pin(self.folder.join(name))
                .map_err(|source| BpfError::Pin {
                    name: name.to_owned(),
                    source: Box::new(source),
                })?;
        }
        Ok(())
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

/// Handles on the maps of a table that is kept, for one who only reads.
pub struct Maps {
    sockets: HashMap<MapData, u64, Raw<Row>>,
    stats: Array<MapData, TableStats>,
    ring: Ring,
}

impl Maps {
    /// Those of a table that is kept in `folder`.
    ///
    /// # Errors
    /// When they cannot be opened, or are of another build.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        TableError::unless_ours(folder)?;
        let pinned =
            |name: &str| MapData::from_pin(folder.join(name)).map_err(map("opening a pinned map"));
        Ok(Self {
            sockets: HashMap::try_from(Map::HashMap(pinned("sv_sockets")?))
                .map_err(map("opening sv_sockets"))?,
            stats: Array::try_from(Map::Array(pinned("sv_table")?))
                .map_err(map("opening sv_table"))?,
            ring: Ring::pinned(folder)?,
        })
    }

    /// All rows as they are now: those of the map, and what has been noted
    /// since the keeper last put notes into them.
    #[must_use]
    pub fn rows(&mut self) -> Vec<Row> {
        // Before the rows: a note that comes twice counts once.
        let until = self.stats().map_or(0, |stats| stats.noted);
        let mut known: Known<u64, Row> = rows(&self.sockets)
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let mut notes = Vec::new();
        self.ring.seek(until);
        // Notes that are lost are lost to the keeper too, which counts them.
        let _ = self.ring.read(&mut notes);
        for note in notes {
            if life::begins(&note) {
                known.entry(note.id).or_insert(Row {
                    id: note.id,
                    ..Row::EMPTY
                });
            }
            if let Some(row) = known.get_mut(&note.id) {
                let _ = life::apply(row, &note);
            }
        }
        known.into_values().collect()
    }

    /// Reads the keeper's counters of the table.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn stats(&self) -> Result<TableStats, TableError> {
        self.stats.get(&0, 0).map_err(map("reading sv_table"))
    }
}

/// Rows that come and go meanwhile may be among them or not.
pub(super) fn rows(map: &HashMap<MapData, u64, Raw<Row>>) -> Vec<Row> {
    map.keys()
        .filter_map(Result::ok)
        .filter_map(|id| map.get(&id, 0).ok()?.value().ok())
        .collect()
}
