//! What a service manager is told of the agent of a host.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, thread, time::Duration};

use nix::{
    sys::{ptrace, signal::Signal, wait},
    unistd::Pid,
};
use socketvirt_tests::{
    cgroup::Apart,
    process::{PATIENCE, Process, until},
    run::binary,
    session::{self, Session},
};
use tempfile::TempDir;

/// A manager, and the messages that have come.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_nonblocking(true).expect("not to wait");
        Self {
            socket,
            told: Vec::new(),
            folder,
        }
    }

    fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .args(args)
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "200000")
            .env_remove("WATCHDOG_PID");
        let agent = Process::start(&mut command);
        session::started(agent.pid());
        agent
    }

    /// Takes in what has come; true when a line of it is so.
    fn has(&mut self, is: impl Fn(&str) -> bool) -> bool {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            self.told.extend(text.lines().map(str::to_owned));
        }
        self.told.iter().any(|line| is(line))
    }

    #[track_caller]
    fn until(&mut self, line: &str) {
        until(line, || self.has(|told| told.starts_with(line)));
    }
}

#[test]
fn a_manager_is_told_how_the_agent_is() {
    let _session = Session::start();
    let apart = Apart::new();
    let mut manager = Manager::new();
    let file = manager.folder.path().join("policy.toml");
    fs::write(&file, "default = \"adopt\"\n").expect("a policy");
    let cgroup = apart.path().display().to_string();
    let mut agent = manager.start(&["--config", &file.display().to_string(), "--cgroup", &cgroup]);
    manager.until("READY=1");
    // Not before it works.
    assert!(
        agent.stderr().contains("accelerating in mode adopt"),
        "{}",
        agent.stderr()
    );
    manager.until("STATUS=accelerating in mode adopt, receive mode");
    manager.until("WATCHDOG=1");
    manager.told.clear();
    agent.signal(Signal::SIGHUP);
    manager.until("RELOADING=1");
    manager.until("MONOTONIC_USEC=");
    manager.until("READY=1");
    assert!(!manager.has(|line| line == "STOPPING=1"));
    agent.signal(Signal::SIGTERM);
    agent.finish(PATIENCE).success();
    assert!(
        manager.has(|line| line == "STOPPING=1"),
        "{:?}",
        manager.told
    );
}

/// Only a thread that goes on feeds the watchdog: the main one does not speak for
/// it.
#[test]
fn a_watching_thread_that_hangs_feeds_no_watchdog() {
    let _session = Session::start();
    let mut manager = Manager::new();
    let mut agent = manager.start(&["--mode", "adopt"]);
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    let watch = thread_of(agent.pid(), "watch");
    ptrace::seize(watch, ptrace::Options::empty()).expect("trace the thread");
    ptrace::interrupt(watch).expect("stop the thread");
    wait::waitpid(watch, Some(wait::WaitPidFlag::__WALL)).expect("its stop");
    // One tick may still know of an answer from before.
    thread::sleep(Duration::from_millis(300));
    manager.has(|_| false);
    manager.told.clear();
    thread::sleep(Duration::from_secs(1));
    assert!(
        !manager.has(|line| line == "WATCHDOG=1"),
        "{:?}",
        manager.told
    );
    ptrace::detach(watch, None).expect("let it go on");
    manager.until("WATCHDOG=1");
    agent.signal(Signal::SIGTERM);
    agent.finish(PATIENCE).success();
}

/// The thread of a process with this name.
fn thread_of(process: Pid, name: &str) -> Pid {
    let mut found = None;
    until("a thread of that name", || {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
        let mut tasks = tasks.flatten().map(|entry| entry.path());
        found = tasks.find(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        });
        found.is_some()
    });
    let number = found.as_deref().and_then(Path::file_name);
    let number = number.expect("a number").to_string_lossy();
    Pid::from_raw(number.parse().expect("a number"))
}
