//! What a data path has pinned, opened: by whoever has just made it, or takes it over.

use std::path::Path;

use aya::{
    maps::{HashMap, Map, MapData, MapError, RingBuf},
    programs::{ProgramError, SockOps},
};
use socketvirt_common::{
    reason::Reason,
    record::{
        program::Program,
        raw::Raw,
        reader::{Process, Rings},
    },
};

use super::home;
use crate::{bpf::error::BpfError, program::begun::Begun};

/// The handshake program, which can be attached to other cgroups.
///
/// # Errors
/// When it cannot be opened.
pub fn handshake(folder: &Path) -> Result<SockOps, BpfError> {
    SockOps::from_pin(folder.join(home::SOCK_OPS))
        .map_err(|error: ProgramError| BpfError::program("sv_sock_ops")(error))
}

/// The habits of programs.
///
/// # Errors
/// When the map cannot be opened.
pub fn habits(folder: &Path) -> Result<HashMap<MapData, Raw<Program>, Raw<Reason>>, BpfError> {
    lru(folder, "sv_habits").map_err(BpfError::map("opening sv_habits"))
}

/// The processes that read watched sockets.
///
/// # Errors
/// When the map cannot be opened.
pub fn processes(folder: &Path) -> Result<HashMap<MapData, u64, Raw<Process>>, BpfError> {
    lru(folder, "sv_processes").map_err(BpfError::map("opening sv_processes"))
}

/// The rings of processes.
///
/// # Errors
/// When the map cannot be opened.
pub fn rings(folder: &Path) -> Result<HashMap<MapData, u64, Rings>, BpfError> {
    lru(folder, "sv_rings").map_err(BpfError::map("opening sv_rings"))
}

/// The programs that have begun, and what wakes the agent.
///
/// # Errors
/// When a map cannot be opened.
pub fn begun(folder: &Path) -> Result<Begun, BpfError> {
    let open = || {
        let hash = |name| HashMap::try_from(Map::HashMap(map(folder, name)?));
        let wake = RingBuf::try_from(Map::RingBuf(map(folder, "sv_wake")?))?;
        Begun::new(hash("sv_begun")?, hash("sv_inspected")?, wake)
    };
    open().map_err(BpfError::map(
        "opening what counts the programs of all cgroups",
    ))
}

fn map(folder: &Path, name: &str) -> Result<MapData, MapError> {
    MapData::from_pin(folder.join(name))
}

fn lru<K: aya::Pod, V: aya::Pod>(
    folder: &Path,
    name: &str,
) -> Result<HashMap<MapData, K, V>, MapError> {
    HashMap::try_from(Map::LruHashMap(map(folder, name)?))
}
