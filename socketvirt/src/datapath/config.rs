//! The switches in `sv_config`.

use aya::maps::{Array, MapData, MapError};
use socketvirt_common::record::config::Config;

/// The switches, and the map that shows them to the programs.
///
/// One owner writes them; the programs only read.
pub struct ConfigMap {
    map: Array<MapData, Config>,
    config: Config,
}

impl ConfigMap {
    /// Takes the map over, with everything off.
    #[must_use]
    pub fn new(map: Array<MapData, Config>) -> Self {
        Self {
            map,
            config: Config::default(),
        }
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
        self.map.set(0, self.config, 0)
    }
}
