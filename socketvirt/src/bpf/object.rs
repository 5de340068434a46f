//! The BPF object of this build, and whether what is pinned is of this build.
//!
//! Records in pinned maps have no other description than the source that they were
//! built from. So an agent pins beside them which build it is, and how its records are
//! made. Another build leaves records alone that it does not understand. Those that it
//! understands it may work with at the same time as the build before.

use std::{
    fmt,
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
/// though it is as large, and when a program that sockets keep (`sv_msg_entry`,
/// `sv_unify`) must not go on beside this build's.
const MEANING: u32 = 2;

/// The place in `sv_build` of the number of the build.
const AT_BUILD: u32 = 0;
/// The place of the number of its records.
const AT_SCHEMA: u32 = 1;
/// The place of its version.
const AT_VERSION: u32 = 2;

/// The number of no build: programs of two are at work.
const MIXED: u64 = 0;

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

/// The version of this build: three numbers of 16 bits.
fn version() -> u64 {
    let parts = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ];
    let number = |part: &str| part.parse::<u64>().unwrap_or(0);
    parts.iter().fold(0, |all, part| all << 16 | number(part))
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A build, in words for people: its version, and its number where versions are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    version: Option<u64>,
    build: u64,
}

impl Name {
    /// That of this program.
    #[must_use]
    pub fn own() -> Self {
        Self {
            version: Some(version()),
            build: build(),
        }
    }

    /// That of the build that has pinned `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self {
            version: said(folder, AT_VERSION),
            build: said(folder, AT_BUILD).unwrap_or(MIXED),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => {
                let part = |at: u32| version >> (16 * at) & 0xffff;
                write!(to, "{}.{}.{}", part(2), part(1), part(0))?;
            }
            None => to.write_str("an unknown version")?,
        }
        match self.build {
            MIXED => to.write_str(" (half exchanged)"),
            build => write!(to, " (build {:08x})", build >> 32),
        }
    }
}
/// Says in the map of a loaded object that it is of this build.
///
/// # Errors
/// When the map cannot be written.
pub fn mark(map: &mut Map) -> Result<(), MapError> {
    let mut map = Array::try_from(map)?;
    map.set(AT_BUILD, build(), 0)?;
    map.set(AT_SCHEMA, schema(), 0)?;
    map.set(AT_VERSION, version(), 0)
}

/// Says of what is pinned in `folder` that not all of its programs are of one build.
///
/// # Errors
/// When the map cannot be opened or written.
pub fn mark_mixed(folder: &Path) -> Result<(), MapError> {
    let map = MapData::from_pin(folder.join(BUILD))?;
    let mut map = Array::try_from(Map::Array(map))?;
    map.set(AT_BUILD, MIXED, 0)
}

/// True when what is pinned in `folder` is of this build, all of it.
#[must_use]
pub fn is_ours(folder: &Path) -> bool {
    said(folder, AT_BUILD) == Some(build())
}

/// True when this build and the one that has pinned `folder` understand each other's
/// records: each can run the programs of the other on them, also at the same time.
#[must_use]
pub fn is_understood(folder: &Path) -> bool {
    said(folder, AT_SCHEMA) == Some(schema())
}

fn said(folder: &Path, at: u32) -> Option<u64> {
    let map = MapData::from_pin(folder.join(BUILD)).ok()?;
    let map = Array::<_, u64>::try_from(Map::Array(map)).ok()?;
    map.get(&at, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_its_version_and_number() {
        let name = Name::own().to_string();
        let version = concat!(env!("CARGO_PKG_VERSION"), " (build ");
        assert!(name.starts_with(version), "{name}");
        let of_before = Name {
            version: None,
            build: 0xabc << 32,
        };
        assert_eq!(of_before.to_string(), "an unknown version (build 00000abc)");
        let half = Name {
            version: Some(0x0001_0014_012c),
            build: MIXED,
        };
        assert_eq!(half.to_string(), "1.20.300 (half exchanged)");
    }
}
