//! Reading the counters.

use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use socketvirt_common::record::stats::Stats;

use crate::bpf::error::DataPathError;

/// The counters.
pub struct StatsMap(pub(super) PerCpuArray<MapData, Stats>);

impl StatsMap {
    /// What is counted in the map that is pinned in `folder`; nothing when it
    /// cannot be read.
    #[must_use]
    pub fn pinned(folder: &Path) -> Stats {
        let read = || {
            let map = MapData::from_pin(folder.join("sv_stats")).ok()?;
            let map = PerCpuArray::try_from(Map::PerCpuArray(map)).ok()?;
            Self(map).read().ok()
        };
        read().unwrap_or_default()
    }

    /// The sum over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn read(&self) -> Result<Stats, DataPathError> {
        let values = self
            .0
            .get(&0, 0)
            .map_err(DataPathError::map("reading sv_stats"))?;
        Ok(values.iter().fold(Stats::default(), |mut sum, one| {
            sum.add(one);
            sum
        }))
    }

    /// Sets every counter to zero.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn reset(&mut self) -> Result<(), DataPathError> {
        let zeros = PerCpuValues::try_from(vec![
            Stats::default();
            aya::util::nr_cpus().map_or(1, |cpus| cpus)
        ])
        .map_err(|error| DataPathError::map("sizing sv_stats")(error.into()))?;
        self.0
            .set(0, zeros, 0)
            .map_err(DataPathError::map("resetting sv_stats"))
    }
}
