//! The counters of an agent at work: tests wait for them instead of a time.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData, PerCpuArray};
use nix::unistd::Pid;
use socketvirt::host::{namespaces, process};
use socketvirt_common::{
    reason::Reason,
    record::{stats::Stats, watch::Tiers},
};

use crate::{
    process::Process,
    session::{PINS, PINS_OF_HOST},
};

/// The counters of one agent, over all CPUs.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections whose two ends were found on this host.
    pub pairs: u64,
    /// Pairs enrolled in mid-life or at the handshake.
    pub adopted: u64,
    /// Pairs that have left.
    pub released: u64,
    /// Connections that were reset, because a program was stuck in them.
    pub resets: u64,
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
        // Redirected bytes of live sockets are not counted before they end.
        let map = MapData::from_pin(home(agent)?.join("sv_tiers")).ok()?;
        let map = Array::<_, Tiers>::try_from(Map::Array(map)).ok()?;
        all.fast_bytes += map.get(&0, 0).ok()?.live.fast_bytes;
        Some(all)
    }

    fn add(&mut self, one: &Stats) {
        self.pairs += one.pairs;
        self.adopted += one.adopted + one.eager;
        self.released += one.released;
        self.resets += one.resets;
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

/// The number of sockets whose receive calls an agent records.
#[must_use]
pub fn recorded(agent: Pid) -> u64 {
    let folder = home(agent).expect("a home");
    let map = MapData::from_pin(folder.join("sv_filter")).expect("sv_filter");
    let map = Array::<_, u64>::try_from(Map::Array(map)).expect("an array");
    map.iter().map(|counter| counter.expect("a counter")).sum()
}

/// The pinned folder of an agent: of `exec` its name ends in `<pid>-<start>`, and `run`
/// has that of the host.
#[must_use]
pub fn home(agent: Pid) -> Option<PathBuf> {
    let word = format!("exec-{agent}-");
    let all = fs::read_dir(PINS).ok()?.flatten();
    let mut all = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&word));
    let host = || {
        Path::new(PINS_OF_HOST)
            .exists()
            .then(|| PINS_OF_HOST.into())
    };
    all.next().map(|entry| entry.path()).or_else(host)
}

/// True when an agent has started its command. Before, it counts what its
/// self-test does.
fn has_begun(agent: Pid) -> bool {
    let is_child = |pid| process::stat(pid).is_ok_and(|found| found.ppid == agent.as_raw());
    namespaces::processes().any(is_child)
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
