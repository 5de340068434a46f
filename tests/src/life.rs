//! Data paths that outlive their agents, and traffic that goes on over them.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aya::maps::{Array, Map, MapData};
use nix::sys::signal::Signal;
use socketvirt::datapath::{home, stats::StatsMap, tiers::Tiers};
use socketvirt_common::record::stats::Stats;
use tempfile::TempDir;

use crate::{
    cgroup::Apart,
    process::{PATIENCE, Process, until},
    run::{END, GO, binary, socketvirt, workload},
    session::{self, PINS_OF_HOST},
};

/// A policy that adopts everything.
pub const ADOPT: &str = "default = \"adopt\"\n";
/// One that leaves everything on the stack.
pub const OFF: &str = "default = \"off\"\n";
/// One that enrols at handshakes.
pub const EAGER: &str = "default = \"eager\"\n";

/// Non-blocking connections, so that they are adopted and can leave.
pub const EDGE: &str = "--io edge --connections 4";

/// The cgroup of a test, and the policy of its agents.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    apart: Apart,
    talks: Cell<u32>,
}

impl Place {
    /// Makes it, with this policy.
    pub fn new(policy: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().expect("a folder"),
            apart: Apart::new(),
            talks: Cell::new(0),
        };
        fs::write(place.policy(), policy).expect("a policy");
        place
    }

    fn policy(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    /// The cgroup.
    pub fn cgroup(&self) -> &Path {
        self.apart.path()
    }

    /// An agent of these connections, which accelerates when this returns.
    pub fn agent(&self, options: &str) -> Process {
        self.agent_of(self.cgroup(), options)
    }

    /// [`Place::agent`], and [`EDGE`] at work, all of them enrolled.
    pub fn at_work(&self, options: &str) -> (Process, Talk) {
        let at_work = (self.agent(options), self.talk(EDGE));
        until_enrolled(8);
        at_work
    }

    /// An agent of another cgroup, with the policy.
    pub fn agent_of(&self, cgroup: &Path, options: &str) -> Process {
        let mut agent = self.start(cgroup, options);
        until_it_accelerates(&mut agent);
        agent
    }

    /// Starts an agent, and does not wait for it.
    pub fn start(&self, cgroup: &Path, options: &str) -> Process {
        let mut command = Command::new(binary());
        command.args(["run", "--config"]).arg(self.policy());
        command.arg("--cgroup").arg(cgroup);
        command.args(options.split_whitespace());
        let agent = Process::start(&mut command);
        session::started(agent.pid());
        agent
    }

    /// Puts a policy in force.
    pub fn apply(&self, policy: &str) {
        fs::write(self.policy(), policy).expect("a policy");
        let file = self.policy().display().to_string();
        let done = socketvirt(&["apply", &file]);
        assert!(done.status.success(), "{done:?}");
    }

    /// Connections that talk until they are told to end, each byte checked. What they
    /// say last is large.
    pub fn talk(&self, options: &str) -> Talk {
        let number = self.talks.replace(self.talks.get() + 1);
        let go = self.folder.path().join(format!("go-{number}"));
        let phases = "--phases pp:20x4K@200!go,stream:1M";
        let words = workload(&format!("streams {options} {phases}"));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env(GO, &go).env(END, &go);
        Talk {
            process: Process::start(&mut command),
            go,
        }
    }
}

/// Waits until an agent accelerates.
#[track_caller]
pub fn until_it_accelerates(agent: &mut Process) {
    until("the agent accelerates", || {
        let ended = agent.wait(std::time::Duration::ZERO);
        assert!(ended.is_none(), "it ended: {}", agent.stderr());
        agent.stderr().contains("accelerating in mode")
    });
}

/// Traffic at work.
#[derive(Debug)]
pub struct Talk {
    process: Process,
    go: PathBuf,
}

impl Talk {
    /// Has it end, with every byte as it was sent.
    pub fn end(mut self) {
        fs::write(&self.go, "").expect("a file");
        self.process.finish(PATIENCE).success();
    }
}

/// The entry of `sv_build` that tells the build.
pub const BUILD: u32 = 0;
/// The entry that tells its records.
pub const RECORDS: u32 = 1;

/// Changes what the data path says of its build, or of its records.
pub fn disguise(at: u32) {
    let map = MapData::from_pin(host().join("sv_build")).expect("the build");
    let mut map: Array<_, u64> = Map::Array(map).try_into().expect("numbers");
    map.set(at, 7, 0).expect("write");
}

/// Bytes that were redirected on connections which live still, as the agent tells.
pub fn fast_bytes() -> u64 {
    let shown = socketvirt(&["status", "--json"]);
    assert!(shown.status.success(), "{shown:?}");
    let status: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    status["accelerating"]["bytes"]["fast"]
        .as_u64()
        .expect("bytes")
}

/// Waits until more bytes are redirected.
#[track_caller]
pub fn until_more_is_fast() {
    let before = fast_bytes();
    until("more is redirected", || fast_bytes() > before);
}

/// Kills an agent as the kernel does when memory is short.
pub fn kill(mut agent: Process) {
    agent.signal(Signal::SIGKILL);
    assert!(agent.wait(PATIENCE).is_some(), "it does not end");
}

/// Ends an agent; returns what it said.
pub fn end(mut agent: Process) -> String {
    agent.signal(Signal::SIGTERM);
    let ended = agent.finish(PATIENCE);
    ended.success();
    ended.stderr.clone()
}

/// The data path of the host.
pub fn host() -> &'static Path {
    Path::new(PINS_OF_HOST)
}

/// Number of its enrolled sockets.
pub fn enrolled() -> usize {
    home::enrolled(&host().join(home::FAST))
}

/// Waits until as many are enrolled.
#[track_caller]
pub fn until_enrolled(sockets: usize) {
    until(&format!("{sockets} are enrolled"), || enrolled() == sockets);
}

/// Its enrolled sockets.
pub fn sockets() -> BTreeSet<u64> {
    let tiers = Tiers::open(host()).expect("a data path");
    tiers.enrolled_sockets().into_iter().collect()
}

/// Its counters.
pub fn stats() -> Stats {
    StatsMap::pinned(host())
}
