//! A cgroup that is removed and made again under an agent that accelerates it:
//! every service that is restarted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use socketvirt_tests::{
    cgroup::Apart,
    process::{Process, until},
    run::{Mode, begun, binary},
    session::{self, Session, cgroup_root},
    table::keep::PATIENCE,
};
use test_support::cgroup;

/// A cgroup that goes with this value.
struct Service(PathBuf);

impl Service {
    fn new() -> Self {
        let service = Self(cgroup_root().join(format!("svt-service-{}", std::process::id())));
        service.make();
        service
    }

    fn make(&self) {
        fs::create_dir(&self.0).expect("a cgroup");
    }

    /// A process is in its cgroup until it is quite dead.
    fn remove(&self) -> io::Result<()> {
        cgroup::remove(&self.0)
    }

    /// Runs a workload in it.
    fn work(&self, mode: Mode) {
        let words = begun(mode, "streams --connections 2 --phases pp:600@200");
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""])
            .arg(&self.0)
            .args(words);
        let mut process = Process::start(command.stdin(Stdio::null()));
        process.finish(Duration::from_mins(1)).success();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.0.exists() {
            let _ = self.remove();
        }
    }
}

fn agent(mode: Mode, cgroup: &Path) -> Process {
    let mut command = Command::new(binary());
    command.args(["run", "--mode", mode.word(), "--cgroup"]);
    command.arg(cgroup).stdin(Stdio::null());
    let process = Process::start(&mut command);
    session::started(process.pid());
    until("the agent accelerates", || {
        process.stderr().contains("accelerating")
    });
    process
}

/// Reads the accelerated pairs of the agent's summary: `4 seen, 2 accelerated`.
fn accelerated(stderr: &str) -> u32 {
    let words: Vec<_> = stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "accelerated,");
    let at = at.unwrap_or_else(|| panic!("no summary: {stderr}"));
    words[at - 1].parse().expect("a count")
}

fn links() -> Vec<String> {
    let pins = fs::read_dir(session::PINS_OF_HOST).into_iter().flatten();
    pins.flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("link_sock_ops"))
        .collect()
}

#[test]
fn what_is_made_again_is_accelerated() {
    let _session = Session::start();
    let _apart = Apart::new();
    for mode in Mode::ACCELERATED {
        let service = Service::new();
        let mut agent = agent(mode, &service.0);
        let times = |word: &str, agent: &Process| agent.stderr().matches(word).count();
        for round in 1..=3 {
            service.remove().expect("remove the cgroup");
            if round == 1 {
                until("it is said to be gone", || times("is gone", &agent) == 1);
            }
            service.make();
            until("it is said to be back", || {
                times("was made again", &agent) == round
            });
        }
        // Links to earlier cgroups go with them.
        for _ in 0..3 {
            service.work(mode);
        }
        service.remove().expect("remove the cgroup");
        service.make();
        until("it is said to be back", || {
            times("was made again", &agent) == 4
        });
        let left = links();
        assert!(left.len() <= 3, "{left:?}");
        agent.signal(Signal::SIGTERM);
        let finished = agent.finish(PATIENCE);
        finished.success();
        assert!(accelerated(&finished.stderr) > 0, "{}", finished.report());
    }
}
