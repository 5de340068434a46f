//! Reading the counters.

use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use socketvirt_common::record::stats::Stats;

use crate::bpf::error::BpfError;

/// The counters.
pub struct StatsMap(pub(super) PerCpuArray<MapData, Stats>);

impl StatsMap {
    /// Those of the map that is pinned in `folder`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, BpfError> {
        let open = || {
            let map = MapData::from_pin(folder.join("sv_stats"))?;
            PerCpuArray::try_from(Map::PerCpuArray(map))
        };
        open().map(Self).map_err(BpfError::map("opening sv_stats"))
    }

    /// Reads the counters of the map that is pinned in `folder`; zeros when it
    /// cannot be read.
    #[must_use]
    pub fn pinned(folder: &Path) -> Stats {
        let read = Self::open(folder).and_then(|map| map.read());
        read.unwrap_or_default()
    }

    /// The sum over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn read(&self) -> Result<Stats, BpfError> {
        let values = self
            .0
            .get(&0, 0)
            .map_err(BpfError::map("reading sv_stats"))?;
        Ok(values.iter().fold(Stats::default(), |mut sum, one| {
            sum.add(one);
            sum
        }))
    }

    /// Sets every counter to zero.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn reset(&mut self) -> Result<(), BpfError> {
        let zeros = PerCpuValues::try_from(vec![
            Stats::default();
            aya::util::nr_cpus().map_or(1, |cpus| cpus)
        ])
        .map_err(|error| BpfError::map("sizing sv_stats")(error.into()))?;
        self.0
            .set(0, zeros, 0)
            .map_err(BpfError::map("resetting sv_stats"))
    }
}
