//! The switches in `sv_config`.

use std::path::Path;

use aya::maps::{Array, Map, MapData, MapError};
use socketvirt_common::record::{
    config::{Config, Mode},
    raw::Raw,
};

use super::home;
use crate::bpf::error::BpfError;

/// The switches, and the map that shows them to the programs.
///
/// One owner writes them; the programs only read.
pub struct ConfigMap {
    map: Array<MapData, Raw<Config>>,
    config: Config,
}

impl ConfigMap {
    /// Takes the map over, with everything off.
    #[must_use]
    pub fn new(map: Array<MapData, Raw<Config>>) -> Self {
        Self {
            map,
            config: Config::default(),
        }
    }

    /// Takes over those of the data path that is pinned in `folder`, as they are.
    ///
    /// # Errors
    /// When the map cannot be opened or read.
    pub fn open(folder: &Path) -> Result<Self, BpfError> {
        let open = || {
            let map = MapData::from_pin(folder.join(home::CONFIG))?;
            let map: Array<_, Raw<Config>> = Map::Array(map).try_into()?;
            let config = map.get(&0, 0)?.value()?;
            Ok(Self { map, config })
        };
        open().map_err(|error: MapError| BpfError::map("opening sv_config")(error))
    }

    /// The switches as they are.
    #[must_use]
    pub fn get(&self) -> Config {
        self.config
    }

    /// Changes switches; the programs see all changes of one call at once, or
    /// one after another, which every one of them allows.
    ///
    /// # Errors
    /// When the kernel refuses the update.
    pub fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), MapError> {
        change(&mut self.config);
        // Runs of the owner's programs write it.
        self.config.watched_until = self.map.get(&0, 0)?.value()?.watched_until;
        self.map.set(0, Raw::of(self.config), 0)
    }
}

/// When the data path that is pinned in `folder` enrols sockets, if that can be read.
#[must_use]
pub fn mode(folder: &Path) -> Option<Mode> {
    let map = MapData::from_pin(folder.join(home::CONFIG)).ok()?;
    let map: Array<_, Raw<Config>> = Map::Array(map).try_into().ok()?;
    let config = map.get(&0, 0).ok()?.value().ok()?;
    Some(config.mode)
}
