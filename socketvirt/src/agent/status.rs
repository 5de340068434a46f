//! The state of a host's acceleration: on since when, what it carries, and what it
//! refuses.

use std::{path::Path, time::UNIX_EPOCH};

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError},
};
use serde::Serialize;
use socketvirt_common::record::{
    config::{Config, Mode, ReceiveMode},
    raw::Raw,
    stats::Stats,
    watch::Tiers,
};

use super::{
    kept::{self, Kept},
    state::{Accelerating as On, State},
};
use crate::{
    bpf::error::BpfError,
    datapath::{home, stats::StatsMap},
    policy::{
        status::{Status as Rules, StatusError as RulesError},
        store::{Store, StoreError},
        void::Void,
    },
    session::{effective::Effective, summary::Summary},
    table::keeper,
    watch::steering,
};

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The counters.
    #[error(transparent)]
    Counters(#[from] BpfError),
    /// The maps of the policy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] RulesError),
}

/// The state, as JSON: an interface, to which fields are added, and of which none is
/// renamed or removed.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Version of these structures.
    pub schema: u32,
    /// The agent; none when what is told was read from pinned maps.
    pub agent: Option<Agent>,
    /// The data path; none when the agent keeps the table alone.
    pub accelerating: Option<Accelerating>,
    /// What the table could not hold; none when no table is kept.
    pub table: Option<Table>,
}

/// An agent.
#[derive(Debug, Serialize)]
pub struct Agent {
    /// Its process.
    pub pid: u32,
    /// The version of the program.
    pub version: &'static str,
    /// The time of its start, seconds since 1970.
    pub since: u64,
}

/// A data path.
#[derive(Debug, Serialize)]
pub struct Accelerating {
    /// The name of its home.
    pub home: String,
    /// True when what was asked for is on, at least in part.
    pub works: bool,
    /// True while it is paused.
    pub paused: bool,
    /// Pairs that are watched now.
    pub watched: u32,
    /// Pairs of which an end is enrolled now.
    pub enrolled: u32,
    /// The counters since the start.
    #[serde(flatten)]
    pub summary: Summary,
    /// Sockets of watched pairs that are plain now.
    pub kept: Vec<Kept>,
    /// Sockets that ended without a redirected byte.
    pub ended: Vec<Kept>,
    /// Programs whose vouch is void until a policy is applied again.
    pub void: Vec<Void>,
    /// The policy in force.
    pub policy: Rules,
}

/// What the table could not hold.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Sockets that found no room.
    pub missing: u64,
    /// Closed ones that made room.
    pub evicted: u64,
    /// Events that were lost.
    pub lost: u64,
}

impl Status {
    /// Reads that of the calling agent.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn of_agent(state: &State) -> Result<Self, StatusError> {
        let since = state.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let table = state.started().and_then(|started| started.table.as_deref());
        Ok(Self {
            schema: 1,
            agent: Some(Agent {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION"),
                since: since.as_secs(),
            }),
            accelerating: state
                .accelerating()
                .map(Accelerating::of_agent)
                .transpose()?,
            table: table.and_then(Table::read),
        })
    }

    /// Reads that of a data path without an agent. Its counters have the bytes of
    /// sockets that ended, and of live ones what was counted until the agent ended.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn of_maps(home: &Path) -> Result<Self, StatusError> {
        let config: Raw<Config> = pinned(home, home::CONFIG)?;
        let config = config.value().map_err(BpfError::map("reading sv_config"))?;
        let tiers: Tiers = pinned(home, "sv_tiers")?;
        let effective = Effective {
            receive_mode: config.receive_mode,
            ..Effective::new(config.mode)
        };
        let stats = StatsMap::open(home)?.read()?;
        let on = Accelerating::read(home, &effective, &stats)?;
        Ok(Self {
            schema: 1,
            agent: None,
            accelerating: Some(Accelerating {
                watched: tiers.pairs,
                enrolled: tiers.enrolled,
                ..on
            }),
            table: None,
        })
    }
}

impl Accelerating {
    fn of_agent(on: &On) -> Result<Self, StatusError> {
        let seen = on.steering.seen();
        let mut stats = StatsMap::open(&on.home)?.read()?;
        stats.traffic = steering::most(&stats.traffic, &seen.traffic);
        Ok(Self {
            paused: on.steering.is_paused(),
            watched: seen.pairs,
            enrolled: seen.enrolled,
            ..Self::read(&on.home, &on.effective, &stats)?
        })
    }

    fn read(home: &Path, effective: &Effective, stats: &Stats) -> Result<Self, StatusError> {
        let works = effective.mode != Mode::Off && effective.receive_mode != ReceiveMode::TableOnly;
        let store = Store::open(home)?;
        Ok(Self {
            home: home
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            works,
            paused: false,
            watched: 0,
            enrolled: 0,
            summary: Summary::new(effective, stats),
            kept: kept::by_reason(&kept::now(home)),
            ended: kept::by_reason(&stats.left_on_stack),
            void: store.void(),
            policy: Rules::read(&store)?,
        })
    }
}

impl Table {
    fn read(folder: &Path) -> Option<Self> {
        let stats = keeper::Maps::open(folder)
            .and_then(|maps| maps.stats())
            .ok()?;
        Some(Self {
            missing: stats.missing,
            evicted: stats.evicted,
            lost: stats.lost,
        })
    }
}

/// The single entry of an array that is pinned in `home`.
fn pinned<V: Pod>(home: &Path, name: &str) -> Result<V, BpfError> {
    let read = || -> Result<V, MapError> {
        let map = MapData::from_pin(home.join(name))?;
        Array::try_from(Map::Array(map))?.get(&0, 0)
    };
    read().map_err(BpfError::map("reading a pinned map"))
}
