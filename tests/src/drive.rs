//! The rounds of an agent that was stopped, one right after the other: what takes
//! the agent minutes is done in seconds.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use aya::maps::{Array, Map, MapData};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use socketvirt::datapath::tiers::Tiers;
use socketvirt_common::record::{
    config::{Config, Mode, ReceiveMode},
    raw::Raw,
};

use crate::{
    process::{self, PATIENCE},
    run::Running,
};

/// The data path of a running agent, driven in its place.
#[expect(missing_debug_implementations, reason = "aya's maps have none")]
pub struct Drive<'a> {
    agent: &'a Running,
    folder: PathBuf,
    map: Array<MapData, Raw<Config>>,
    config: Config,
    tiers: Tiers,
}

impl<'a> Drive<'a> {
    /// Waits until the agent has enrolled a socket, which is past its start, and
    /// stops it. Its command goes on.
    #[track_caller]
    pub fn take_once_enrolled(agent: &'a Running) -> Self {
        let mut folder = PathBuf::new();
        process::until("a first adoption", || {
            folder = folder_of(agent.process.pid()).unwrap_or_default();
            !entries(&folder).is_empty()
        });
        agent.signal(Signal::SIGSTOP);
        let map = MapData::from_pin(folder.join("sv_config")).expect("sv_config");
        let map: Array<_, Raw<Config>> = Map::Array(map).try_into().expect("an array");
        let config = map.get(&0, 0).and_then(|config| config.value());
        let mut config = config.expect("the switches");
        config.first_pause = 0;
        // The rounds watch in its place.
        config.watched_until = 0;
        Self {
            agent,
            tiers: Tiers::open(&folder).expect("the tiers"),
            folder,
            map,
            config,
        }
    }

    /// Looks at every pair, and visits what waits, in the caller's namespace.
    fn round(&mut self) {
        self.map
            .set(0, Raw::of(self.config), 0)
            .expect("setting the switches");
        self.tiers.sweep().expect("a sweep");
        self.tiers.look().expect("a look");
        let waiting = self.tiers.shared().waiting;
        if waiting > 0 {
            self.tiers.walk(waiting).expect("a walk");
        }
    }

    /// Releases everything.
    #[track_caller]
    pub fn release(&mut self) {
        (self.config.draining, self.config.mode) = (1, Mode::Off);
        self.rounds("a release of all", |tiers| tiers.enrolled() == 0);
    }

    /// Adopts until so many sockets are enrolled.
    #[track_caller]
    pub fn adopt(&mut self, sockets: usize) {
        (self.config.draining, self.config.mode) = (0, Mode::Adopt);
        self.rounds("an adoption", |tiers| tiers.enrolled() >= sockets);
    }

    /// Goes on until it is so.
    #[track_caller]
    fn rounds(&mut self, what: &str, done: impl Fn(&Tiers) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.tiers) {
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
            self.round();
            assert!(
                self.tiers.shared().pairs > 0,
                "{what}: all connections ended\n{}",
                self.agent.process.stderr()
            );
            // On a single CPU the sockets' programs have a turn.
            thread::yield_now();
        }
    }

    /// From now on sockets are enrolled for the other receive mode. None may be
    /// enrolled.
    #[track_caller]
    pub fn receive_apart(&mut self) {
        self.config.receive_mode = ReceiveMode::TxOnly;
        let fast = self.folder.join("sv_fast").display().to_string();
        let text = process::must("bpftool", ["--json", "prog", "list"]);
        let list: Value = serde_json::from_str(&text).expect("a list of programs");
        for program in list.as_array().into_iter().flatten() {
            if program["name"] == "sv_unify" {
                let id = program["id"].to_string();
                let how = "sk_skb_stream_verdict";
                process::output(
                    "bpftool",
                    ["prog", "detach", "id", &id, how, "pinned", &fast],
                );
            }
        }
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        self.agent.signal(Signal::SIGCONT);
    }
}

/// The sockets that are enrolled.
fn entries(folder: &Path) -> Vec<Value> {
    let fast = folder.join("sv_fast").display().to_string();
    let text = process::output("bpftool", ["--json", "map", "dump", "pinned", &fast]);
    match serde_json::from_str(&text) {
        Ok(Value::Array(entries)) => entries,
        _ => Vec::new(),
    }
}

/// Names of pins end in their owner's `<pid>-<start>`.
fn folder_of(agent: Pid) -> Option<PathBuf> {
    let pins = Path::new("/sys/fs/bpf/socketvirt");
    let begin = format!("exec-{agent}-");
    fs::read_dir(pins)
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
        .map(|entry| entry.path())
}
