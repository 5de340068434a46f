//! What an agent at work has counted: tests wait for that instead of a time.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData, PerCpuArray};
use nix::unistd::Pid;
use socketvirt_common::{
    reason::Reason,
    record::{stats::Stats, watch::Tiers},
};

use crate::{process::Process, session::PINS};

/// The counters of one agent, over all CPUs.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections whose two ends were found on this host.
    pub pairs: u64,
    /// Pairs enrolled in mid-life or at the handshake.
    pub adopted: u64,
    /// Pairs that have left.
    pub released: u64,
    /// Redirected bytes of all connections that were measured.
    pub fast_bytes: u64,
    /// Sockets that ended without a redirected byte, by reason.
    left: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Those of an agent; `None` before its data path is there and after it has
    /// gone.
    #[must_use]
    pub fn of(agent: Pid) -> Option<Self> {
        let map = MapData::from_pin(home(agent)?.join("sv_stats")).ok()?;
        let map = PerCpuArray::<_, Stats>::try_from(Map::PerCpuArray(map)).ok()?;
        let each = map.get(&0, 0).ok()?;
        let mut all = Self::default();
        each.iter().for_each(|one| all.add(one));
        // What live sockets have redirected is not counted before they end.
        let map = MapData::from_pin(home(agent)?.join("sv_tiers")).ok()?;
        let map = Array::<_, Tiers>::try_from(Map::Array(map)).ok()?;
        all.fast_bytes += map.get(&0, 0).ok()?.live.fast_bytes;
        Some(all)
    }

    fn add(&mut self, one: &Stats) {
        self.pairs += one.pairs;
        self.adopted += one.adopted + one.eager;
        self.released += one.released;
        self.fast_bytes += one.traffic.fast_bytes;
        for (reason, count) in Reason::ALL.iter().zip(one.left_on_stack) {
            *self.left.entry(reason.word()).or_default() += count;
        }
    }

    /// Sockets that were left on the stack for a reason.
    pub fn left(&self, reason: &str) -> u64 {
        self.left.get(reason).copied().unwrap_or_default()
    }
}

/// The pinned folder of an agent: its name ends in `<pid>-<start>`.
fn home(agent: Pid) -> Option<PathBuf> {
    let word = format!("-{agent}-");
    let all = fs::read_dir(PINS).ok()?.flatten();
    let mut all = all.filter(|entry| entry.file_name().to_string_lossy().contains(&word));
    all.next().map(|entry| entry.path())
}

/// Whether an agent has started its command. Before, it counts what its
/// self-test does.
fn has_begun(agent: Pid) -> bool {
    let parent = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // Behind the name, which may have blanks: state, parent.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let mut all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.any(|entry| parent(entry) == Some(agent.as_raw()))
}

/// Waits until the counters of an agent are so; false when it has ended before.
#[track_caller]
pub fn until(agent: &mut Process, hangs: Duration, seen: impl Fn(&Counters) -> bool) -> bool {
    let deadline = Instant::now() + hangs;
    let (mut begun, mut last) = (false, None);
    while Instant::now() < deadline {
        begun = begun || has_begun(agent.pid());
        if begun {
            last = Counters::of(agent.pid()).or(last);
        }
        if last.as_ref().is_some_and(&seen) {
            return true;
        }
        if agent.wait(Duration::from_millis(20)).is_some() {
            return false;
        }
    }
    panic!("not within {hangs:?}: {last:?}");
}
