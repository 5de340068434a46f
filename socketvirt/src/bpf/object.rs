//! The BPF object of this build, and whether what is pinned is of this build.
//!
//! Records in pinned maps have no other description than the source that they were
//! built from. So an agent pins beside them which build it is, and another build
//! leaves them alone.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use aya::maps::{Array, Map, MapData, MapError};

/// The object, as `build.rs` made it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socketvirt-ebpf"));

/// The map that says which build has pinned a folder.
pub const BUILD: &str = "sv_build";

/// What stands for this build: the same for the same programs and records.
fn own() -> u64 {
    let mut hasher = DefaultHasher::new();
    OBJECT.hash(&mut hasher);
    hasher.finish()
}

/// Says in the map of a loaded object that it is of this build.
///
/// # Errors
/// When the map cannot be written.
pub fn mark(map: &mut Map) -> Result<(), MapError> {
    Array::try_from(map)?.set(0, own(), 0)
}

/// Whether what is pinned in `folder` is of this build.
#[must_use]
pub fn is_ours(folder: &Path) -> bool {
    MapData::from_pin(folder.join(BUILD))
        .and_then(|map| Array::<_, u64>::try_from(Map::Array(map))?.get(&0, 0))
        .is_ok_and(|build| build == own())
}
