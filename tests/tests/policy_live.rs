//! A policy in force: who is accelerated, and what a change means for connections
//! that live on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use socketvirt_tests::{
    cgroup::Apart,
    process::{Process, until},
    run::{GO, socketvirt, workload},
    session::{PINS_OF_HOST, Session},
    table::keep::{accelerate, end},
};
use tempfile::TempDir;

/// A policy file, an agent that has it, and the cgroup of the test.
struct Host {
    folder: TempDir,
    agent: Process,
    _apart: Apart,
}

impl Host {
    fn new(policy: &str) -> Self {
        let apart = Apart::new();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("policy.toml");
        fs::write(&file, policy).expect("a policy");
        let args = format!(
            "--config {} --cgroup {}",
            file.display(),
            apart.path().display()
        );
        Self {
            folder,
            agent: accelerate(&args),
            _apart: apart,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    fn write(&self, policy: &str) -> PathBuf {
        fs::write(self.file(), policy).expect("a policy");
        self.file()
    }

    fn apply(&self, policy: &str) {
        let done = socketvirt(&["apply", &self.write(policy).display().to_string()]);
        assert!(done.status.success(), "{done:?}");
    }

    /// Pairs that talk until they are told to end, each byte checked.
    fn talk(&self, connections: u32) -> Talk {
        let go = self.folder.path().join(format!("go-{connections}"));
        let args =
            format!("streams --connections {connections} --phases pp:20x4K@200!go,stream:1M");
        let words = workload(&args);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env(GO, &go);
        Talk {
            process: Process::start(&mut command),
            go,
        }
    }

    fn end(self) {
        end(self.agent);
    }
}

struct Talk {
    process: Process,
    go: PathBuf,
}

impl Talk {
    fn end(mut self) {
        fs::write(&self.go, "").expect("a file");
        self.process
            .finish(socketvirt_tests::process::PATIENCE)
            .success();
    }
}

/// `policy show --json`: the rule with this name.
fn rule(name: &str) -> Value {
    let shown = socketvirt(&["policy", "show", "--json"]);
    assert!(shown.status.success(), "{shown:?}");
    let all: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let mut rules = all["rules"].as_array().expect("rules").iter();
    rules
        .find(|rule| rule["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {all}"))
        .clone()
}

/// A counter of a rule.
fn count(name: &str, counter: &str) -> u64 {
    rule(name)[counter].as_u64().expect("a count")
}

#[track_caller]
fn until_count(name: &str, counter: &str, is: impl Fn(u64) -> bool) {
    until(&format!("{counter} of {name}"), || is(count(name, counter)));
}

const ADOPT: &str = "default = \"adopt\"\n";
const OFF: &str = "default = \"off\"\n";

#[test]
fn a_change_reaches_live_connections_both_ways() {
    let _session = Session::start();
    let host = Host::new(OFF);
    let talk = host.talk(4);
    until_count("default", "pairs", |pairs| pairs >= 4);
    for _ in 0..3 {
        host.apply(ADOPT);
        until_count("default", "now", |now| now >= 4);
        until_count("default", "fast_bytes", |bytes| bytes > 0);
        host.apply(OFF);
        until("all have left", || enrolled() == 0);
        until_count("default", "pairs", |pairs| pairs >= 4);
        assert_eq!(count("default", "now"), 0);
    }
    // What the last phase sends is checked too.
    host.apply(ADOPT);
    until_count("default", "now", |now| now >= 4);
    talk.end();
    host.end();
}

/// Sockets that are enrolled.
fn enrolled() -> usize {
    socketvirt::datapath::home::enrolled(&Path::new(PINS_OF_HOST).join("sv_fast"))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let _session = Session::start();
    let host = Host::new(
        "default = \"adopt\"\n\
         [[rule]]\nname = \"none\"\naction = \"adopt\"\nserver_address = \"192.0.2.0/24\"\n\
         [[rule]]\nname = \"observed\"\naction = \"observe\"\nserver_address = \"127.0.0.0/8\"\n\
         [[rule]]\nname = \"late\"\naction = \"adopt\"\n",
    );
    let talk = host.talk(2);
    until_count("observed", "observed", |pairs| pairs == 2);
    assert_eq!(enrolled(), 0);
    assert_eq!(count("none", "pairs") + count("late", "pairs"), 0);
    talk.end();
    host.end();
}

#[test]
fn a_limit_holds() {
    let _session = Session::start();
    let host = Host::new(
        "default = \"off\"\n[[rule]]\nname = \"few\"\naction = \"adopt\"\naddress = \"127.0.0.1\"\nmax_pairs = 2\n",
    );
    let talk = host.talk(5);
    until_count("few", "now", |now| now == 2);
    until_count("few", "full", |full| full > 0);
    assert_eq!((count("few", "now"), count("few", "enrolled")), (2, 2));
    talk.end();
    until_count("few", "now", |now| now == 0);
    host.end();
}

/// A cgroup that is made later, and an executable, are matched when they are met.
#[test]
fn names_are_matched_when_they_are_met() {
    let _session = Session::start();
    let host = Host::new(
        "default = \"off\"\n\
         [[rule]]\nname = \"program\"\naction = \"adopt\"\ncgroup = \"/**/svt-*\"\nexecutable = \"/**/workload\"\n",
    );
    let talk = host.talk(2);
    until_count("program", "now", |now| now == 2);
    // The same pairs under a rule that names another program.
    host.apply(
        "default = \"off\"\n\
         [[rule]]\nname = \"program\"\naction = \"adopt\"\nexecutable = \"/**/another\"\n",
    );
    until("all have left", || enrolled() == 0);
    talk.end();
    host.end();
}

#[test]
fn a_file_that_does_not_check_leaves_the_policy_in_force() {
    let _session = Session::start();
    let host =
        Host::new("default = \"off\"\n[[rule]]\nname = \"first\"\naction = \"adopt\"\nuid = 0\n");
    let before = socketvirt(&["policy", "show", "--json"]).stdout;
    let wrong = host.write("defualt = \"adopt\"\n");
    let refused = socketvirt(&["apply", &wrong.display().to_string()]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("policy.toml:1:1") && said.contains("`default`"),
        "{said}"
    );
    host.agent.signal(Signal::SIGHUP);
    until("SIGHUP is answered", || {
        host.agent.stderr().contains("in force still")
    });
    assert_eq!(before, socketvirt(&["policy", "show", "--json"]).stdout);
    // The same file, right, is read again.
    host.write("default = \"observe\"\n");
    host.agent.signal(Signal::SIGHUP);
    until("SIGHUP is answered", || {
        host.agent.stderr().contains("policy 2 is in force")
    });
    let text = socketvirt(&["policy", "show", "--text"]).stdout;
    assert_eq!(String::from_utf8_lossy(&text), "default = \"observe\"\n");
    host.end();
}

#[test]
fn a_socket_is_explained() {
    let _session = Session::start();
    let host = Host::new(
        "default = \"adopt\"\n[[rule]]\nname = \"other\"\naction = \"off\"\nserver_port = 1\n\
         [[rule]]\nname = \"mine\"\naction = \"off\"\nserver_address = \"127.0.0.1\"\n",
    );
    let talk = host.talk(1);
    until_count("mine", "pairs", |pairs| pairs == 1);
    let port = server_port(&talk.process);
    let explained = socketvirt(&["policy", "explain", &port, "--json"]);
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert_eq!(text.lines().count(), 2, "{explained:?}");
    for line in text.lines() {
        let one: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(one["rule"], "mine", "{one}");
        assert_eq!(one["kernel"]["rule"], "mine", "{one}");
        assert_eq!(one["kernel"]["reason"], "policy_off", "{one}");
        assert_eq!(one["steps"][0]["why"], "no: server_port differs", "{one}");
    }
    talk.end();
    host.end();
}

/// The port on which the workload's server is reached.
fn server_port(process: &Process) -> String {
    let shown = socketvirt(&["table", "--json", "--netns", "all"]);
    let table: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let rows = table["sockets"].as_array().expect("rows");
    let parent = process.pid().to_string();
    let of_it = |row: &&Value| {
        let pid = row["owner"]["pid"].as_u64().unwrap_or(0);
        let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
        let status = status.unwrap_or_default();
        let parent_of = status
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
        pid.to_string() == parent || parent_of.as_deref() == Some(parent.as_str())
    };
    let mut listeners = rows
        .iter()
        .filter(|row| row["status"] == "LISTENING")
        .filter(of_it);
    listeners.next().expect("a listener")["local"]["port"].to_string()
}
