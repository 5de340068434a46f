//! Vouches: who is said not to splice is accelerated though it could, and who splices all
//! the same is reset and kept off from then on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use socketvirt_tests::{
    exchanger::{beside_workload, exchanger},
    life::{EDGE, Place, end, enrolled, kill, stats, until_enrolled, until_more_is_fast},
    process::{PATIENCE, Process, must, until},
    programs::{compiled, free_port},
    run::{END, GO, Mode, Run, binary, errors, shell, socketvirt, workload_path},
    session::Session,
    table::kept_for,
};
use tempfile::TempDir;

/// The end of the program's connection that it has spliced, on an enrolled socket.
const RESET: &str = "server: Software caused connection abort\nclient: Connection reset by peer\n";

/// A folder with the program `data/vouched.c`.
fn program() -> TempDir {
    compiled("vouched", &[])
}

/// The program at work.
struct Vouched {
    process: Process,
    go: PathBuf,
    end: PathBuf,
}

impl Vouched {
    /// Starts it with a port.
    fn start(folder: &Path, port: u16) -> Self {
        Self::with(folder, port, &[])
    }

    /// The same with more words. Its files are in `folder`, with the port in their names.
    fn with(folder: &Path, port: u16, words: &[&str]) -> Self {
        let [go, end] = ["go", "end"].map(|name| folder.join(format!("{name}-{port}")));
        let mut command = Command::new(folder.join("vouched"));
        command.arg(port.to_string()).args(words);
        command.env(GO, &go).env(END, &end);
        Self {
            process: Process::start(&mut command),
            go,
            end,
        }
    }

    /// Has it splice.
    fn splice(&self) {
        fs::write(&self.go, "").expect("a file");
    }

    /// Ends it; returns what it said.
    fn end(mut self) -> String {
        fs::write(&self.go, "").expect("a file");
        fs::write(&self.end, "").expect("a file");
        let finished = self.process.finish(PATIENCE);
        finished.success();
        finished.stdout.clone()
    }
}

/// A policy that vouches for whoever serves at a port.
fn vouches(port: u16, action: &str) -> String {
    format!(
        "default = \"adopt\"\n[[rule]]\nname = \"vouched\"\naction = \"{action}\"\n\
         server_port = {port}\nassume = [\"no-splice\"]\n"
    )
}

/// The void vouches, as the agent tells.
fn void() -> Value {
    let shown = socketvirt(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    status["accelerating"]["void"].clone()
}

/// The agent has reset as many connections as it says that vouches are void.
#[track_caller]
fn until_reset(many: u64) {
    until(&format!("{many} resets"), || stats().resets == many);
    assert_eq!(stats().vouches_void, many);
}

#[test]
fn who_splices_all_the_same_is_reset_and_kept_off() {
    let _session = Session::start();
    let folder = program();
    let port = free_port();
    let policy = vouches(port, "adopt");
    let place = Place::new(&policy);
    let agent = place.agent("");
    let vouched = Vouched::start(folder.path(), port);
    until_enrolled(2);
    until_more_is_fast();
    assert_eq!(void(), Value::Array(Vec::new()));
    vouched.splice();
    until_reset(1);
    // The end that has spliced; the other one is vouched for still.
    until("it is kept off", || kept_for("vouch_void") == 1);
    let said = void();
    assert_eq!(said[0]["port"], port, "{said}");
    assert_eq!(said[0]["side"], "server", "{said}");
    assert!(said[1].is_null(), "{said}");
    let text = socketvirt(&["status"]).stdout;
    let line = format!("the server of port {port} in ");
    assert!(String::from_utf8_lossy(&text).contains(&line), "{text:?}");
    // More is exchanged meanwhile than it took to be adopted.
    let before = stats().adopted;
    until_enrolled(0);
    place.apply(&policy);
    until_enrolled(2);
    assert_eq!(stats().adopted, before + 1);
    assert_eq!(void(), Value::Array(Vec::new()));
    assert_eq!(vouched.end(), RESET);
    until_reset(1);
    end(agent);
}

/// The vouch stays void whatever else happens, and for its program alone.
#[test]
fn a_void_vouch_is_that_of_one_program() {
    let _session = Session::start();
    let folder = program();
    let [port, other, neighbour] = [free_port(), free_port(), free_port()];
    let place = Place::new(&format!(
        "default = \"adopt\"\n[[rule]]\nname = \"vouched\"\naction = \"adopt\"\n\
         server_port = [{port}, {other}]\nassume = \"no-splice\"\n"
    ));
    let agent = place.agent("");
    let vouched = Vouched::start(folder.path(), port);
    until_enrolled(2);
    vouched.splice();
    until_reset(1);
    let beside = Vouched::start(folder.path(), other);
    until_enrolled(2);
    // Nobody vouches for the same program at this port.
    let unvouched = Vouched::start(folder.path(), neighbour);
    until("the neighbour is kept off", || kept_for("may_splice") == 2);
    assert_eq!(kept_for("vouch_void"), 1);
    // Its adopted connection goes on.
    until_more_is_fast();
    assert_eq!(enrolled(), 2);
    unvouched.splice();
    until("it has spliced", || {
        let said = unvouched.process.stdout();
        said == "server: a message\nclient: a message\n"
    });
    unvouched.end();
    assert_eq!(vouched.end(), RESET);
    // It splices too, and is another one.
    assert_eq!(beside.end(), RESET);
    until_reset(2);
    end(agent);
}

/// A new agent knows of no void vouch.
#[test]
fn a_new_agent_believes_again() {
    let _session = Session::start();
    let folder = program();
    let port = free_port();
    let place = Place::new(&vouches(port, "adopt"));
    let agent = place.agent("--on-exit keep");
    let vouched = Vouched::start(folder.path(), port);
    // Keeps the data path on.
    let talk = place.talk(EDGE);
    until_enrolled(10);
    vouched.splice();
    until_reset(1);
    until_enrolled(8);
    kill(agent);
    let agent = place.agent("");
    assert!(agent.stderr().contains("taking over"), "{}", agent.stderr());
    until_enrolled(10);
    vouched.end();
    talk.end();
    end(agent);
}

/// In eager mode a handshake enrols what is vouched for.
#[test]
fn at_the_handshake() {
    let _session = Session::start();
    let folder = program();
    let port = free_port();
    let policy = vouches(port, "eager");
    let place = Place::new(&policy);
    let agent = place.agent("");
    let vouched = Vouched::with(folder.path(), port, &["renews"]);
    until("a handshake enrols", || stats().eager > 0);
    vouched.splice();
    until_reset(1);
    until("it is kept off", || kept_for("vouch_void") == 1);
    assert_eq!(vouched.end(), RESET);
    end(agent);
}

/// Who splices before its connection was looked at does not wait for ever either. When
/// the connection has left before a message came, it is plain TCP.
#[test]
fn at_once_after_the_handshake() {
    let _session = Session::start();
    let folder = program();
    let place = Place::new(
        "[[rule]]\nname = \"all\"\naction = \"eager\"\naddress = \"127.0.0.1\"\n\
         assume = \"no-splice\"\n",
    );
    let agent = place.agent("");
    for _ in 0..5 {
        let eager = stats().eager;
        // What it has shown at another port is not held against it.
        let vouched = Vouched::with(folder.path(), free_port(), &["at-once"]);
        until("a handshake enrols", || stats().eager > eager);
        let said = vouched.end();
        let plain = "server: a message\nclient: a message\n";
        assert!([RESET, plain].contains(&said.as_str()), "{said}");
    }
    end(agent);
}

#[test]
fn exec_vouches_for_its_command() {
    let _session = Session::beside_others();
    let folder = program();
    for mode in Mode::ACCELERATED {
        let script = format!("exec {}/vouched 0", folder.path().display());
        let mut running = Run::new(mode, shell(&script))
            .option("--assume no-splice")
            .start();
        running.until(|seen| seen.fast_bytes > 0);
        running.go();
        running.until(|seen| seen.resets > 0);
        running.end();
        let outcome = running.finish();
        outcome.success();
        let summary = outcome.summary();
        assert_eq!(outcome.finished.stdout, RESET, "{mode}: {summary}");
        assert_eq!(summary.count("/vouches_void"), 1, "{mode}: {summary}");
        assert_eq!(summary.count("/resets"), 1, "{mode}: {summary}");
    }
}

/// Who was seen to splice a plain socket is not believed, and nothing is reset.
#[test]
fn what_was_seen_counts_more() {
    let _session = Session::beside_others();
    let folder = compiled("splicer", &[]);
    let splicer = folder.path().join("splicer").display().to_string();
    let script = format!(
        "{} streams --io edge --phases fast@300 || exit 1\n\
         until [ -e ${GO} ]; do {splicer} 300 || exit 1; done",
        workload_path(),
    );
    let outcome = Run::new(Mode::Adopt, shell(&script))
        .option("--assume no-splice")
        .until(|seen| seen.left("vouch_void") > 0)
        .success();
    let summary = outcome.summary();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/resets"), 0, "{summary}");
    assert!(summary.count("/vouches_void") > 0, "{summary}");
}

/// A vouch says nothing of what else a program does.
#[test]
fn other_reasons_stand() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    let script = beside_workload(folder.path(), "network");
    let outcome = Run::new(Mode::Adopt, shell(&script))
        .option("--assume no-splice")
        .success();
    let summary = outcome.summary();
    assert_eq!(summary.left("ring"), 2, "{summary}");
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
}

#[test]
fn names_that_nobody_can_vouch_for_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.toml");
    let check = |rule: &str| {
        let text = format!("[[rule]]\nname = \"one\"\n{rule}\n");
        fs::write(&file, text).expect("a policy");
        let done = socketvirt(&["policy", "check", &file.display().to_string()]);
        (done.status.success(), errors(&done))
    };
    let (good, said) = check("action = \"adopt\"\nassume = [\"no-splice\"]");
    assert!(good, "{said}");
    let (good, said) = check("action = \"adopt\"\nassume = [\"no-splice\", \"no-urgent\"]");
    assert!(!good);
    assert!(
        said.contains("`no-urgent` cannot be vouched for") && said.contains("`no-splice`"),
        "{said}"
    );
    let (good, said) = check("action = \"off\"\nassume = \"no-splice\"");
    assert!(!good);
    assert!(said.contains("policy.toml:4:10"), "{said}");
    assert!(
        said.contains("no meaning with `action = \"off\"`"),
        "{said}"
    );
    let refused = socketvirt(&["exec", "--assume", "no-urgent", "--", "true"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("`no-splice`"), "{refused:?}");
}

#[test]
fn what_a_rule_vouches_for_is_shown() {
    let _session = Session::start();
    let folder = program();
    let port = free_port();
    let place = Place::new(&vouches(port, "adopt"));
    let agent = place.agent("");
    let vouched = Vouched::start(folder.path(), port);
    until_enrolled(2);
    let shown = must(binary().to_str().expect("a path"), ["policy", "show"]);
    assert!(shown.contains("assumes no-splice"), "{shown}");
    let explained = socketvirt(&["policy", "explain", &port.to_string()]);
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(
        text.contains("vouched: matches: adopt, assumes no-splice"),
        "{text}"
    );
    vouched.end();
    end(agent);
}
