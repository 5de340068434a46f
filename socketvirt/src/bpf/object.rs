//! The BPF object of this build, and whether what is pinned is of this build.
//!
//! Records in pinned maps have no other description than the source that they were
//! built from. So an agent pins beside them which build it is, and how its records are
//! made. Another build leaves records alone that it does not understand.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    path::Path,
};

use aya::maps::{Array, Map, MapData, MapError};
use socketvirt_common::record::{
    config::Config,
    flow::Flow,
    pair::{End, EndKey},
    reader::Process,
    stats::Stats,
    watch::{Tiers, Watched},
};

/// The object, as `build.rs` made it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socketvirt-ebpf"));

/// The map that says which build has pinned a folder, and how its records are made.
pub const BUILD: &str = "sv_build";

/// Counts the meanings of records: raised when one means something else than before,
/// though it is as large.
const MEANING: u32 = 1;

/// The number of this build: the same for the same programs and records.
fn build() -> u64 {
    hash(OBJECT)
}

/// The number of this build's records: the same when each is as large, and means the
/// same.
fn schema() -> u64 {
    hash((
        MEANING,
        [
            size_of::<Config>(),
            size_of::<Flow>(),
            size_of::<EndKey>(),
            size_of::<End>(),
            size_of::<Watched>(),
            size_of::<Tiers>(),
            size_of::<Stats>(),
            size_of::<Process>(),
        ],
    ))
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Says in the map of a loaded object that it is of this build.
///
/// # Errors
/// When the map cannot be written.
pub fn mark(map: &mut Map) -> Result<(), MapError> {
    let mut map = Array::try_from(map)?;
    map.set(0, build(), 0)?;
    map.set(1, schema(), 0)
}

/// True when what is pinned in `folder` is of this build.
#[must_use]
pub fn is_ours(folder: &Path) -> bool {
    said(folder, 0) == Some(build())
}

/// True when this build can run the programs that are pinned in `folder`, be they of
/// another build: its records are the same.
#[must_use]
pub fn is_understood(folder: &Path) -> bool {
    said(folder, 1) == Some(schema())
}

fn said(folder: &Path, at: u32) -> Option<u64> {
    let map = MapData::from_pin(folder.join(BUILD)).ok()?;
    let map = Array::<_, u64>::try_from(Map::Array(map)).ok()?;
    map.get(&at, 0).ok()
}
