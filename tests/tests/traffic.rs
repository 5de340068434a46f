//! `socketvirt top` and `map`, with a real agent and checked traffic.

use std::{
    fs,
    process::{Command, Output},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use socketvirt_tests::{
    admin::{Talk, number},
    cgroup::Apart,
    process::{Process, until},
    run::binary,
    session::Session,
    table::keep::{accelerate, end, keep},
    terminal::Terminal,
};

fn socketvirt(args: &str) -> Output {
    let mut command = Command::new(binary());
    command
        .args(args.split_whitespace())
        .output()
        .expect("run socketvirt")
}

/// What a command prints, which ends well.
#[track_caller]
fn printed(args: &str) -> String {
    let output = socketvirt(args);
    assert!(output.status.success(), "{args}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// An agent of a cgroup, and connections in it that it has adopted.
fn at_work(apart: &Apart, connections: u32) -> (Process, Talk) {
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    let talk = Talk::start(connections);
    until("all are adopted", || {
        number("enrolled") == u64::from(connections)
    });
    (agent, talk)
}

/// The cgroup's name, by which its programs are found: others of the host may have theirs.
fn name_of(apart: &Apart) -> String {
    let name = apart.path().file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// `socketvirt top` on a terminal.
fn top() -> Terminal {
    let mut command = Command::new(binary());
    command
        .args(["top", "--interval", "200ms"])
        .env("TERM", "xterm");
    Terminal::start(&mut command)
}

#[test]
fn top_shows_each_pair_with_rates_and_the_path() {
    let _session = Session::start();
    let apart = Apart::new();
    let (agent, talk) = at_work(&apart, 4);
    let mut last = Value::Null;
    let group = name_of(&apart);
    until("all are fast", || {
        let text = printed(&format!("top --count 1 --interval 200ms --filter {group}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        last = json(&text);
        let pairs = last["pairs"].as_array().expect("pairs");
        pairs.len() == 4 && pairs.iter().all(|pair| pair["path"] == "fast")
    });
    assert_eq!(
        (&last["schema"], &last["mode"]),
        (&1.into(), &"adopt".into())
    );
    assert_eq!(last["receive_mode"], "unified");
    assert_eq!(last["agent"], agent.pid().as_raw());
    for pair in last["pairs"].as_array().expect("pairs") {
        for rate in ["bytes_per_s", "messages_per_s", "round_trips_per_s"] {
            assert!(pair[rate].as_f64() > Some(0.0), "{rate}: {pair}");
        }
        assert!(pair["fast_share"].as_f64() > Some(0.5), "{pair}");
        for end in ["client", "server"] {
            assert_eq!(pair[end]["command"], "workload", "{pair}");
        }
    }
    // As many lines as were asked for, as few pairs, and none that is filtered.
    let lines = printed("top --json --count 2 --interval 200ms --rows 1 --sort trips");
    let lines: Vec<Value> = lines.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["pairs"].as_array().map(Vec::len), Some(1));
    assert!(lines[0]["omitted"].as_u64() >= Some(3), "{}", lines[0]);
    let none = json(&printed(
        "top --count 1 --interval 100ms --filter no-such-name",
    ));
    assert_eq!(none["pairs"], Value::Array(Vec::new()));
    talk.end();
    end(agent);
}

#[test]
fn a_map_has_the_programs_and_draws_them() {
    let _session = Session::start();
    let apart = Apart::new();
    let (agent, talk) = at_work(&apart, 3);
    let group = name_of(&apart);
    let map = json(&printed("map --json --for 1s"));
    let nodes = map["nodes"].as_array().expect("nodes");
    let is_ours = |node: &Value| node["place"] == group.as_str() && node["process"] == "workload";
    let at = nodes
        .iter()
        .position(is_ours)
        .unwrap_or_else(|| panic!("{map}"));
    let links = map["links"].as_array().expect("links");
    let link = links
        .iter()
        .find(|link| link["client"] == at)
        .expect("a link");
    assert_eq!(link["connections"], 3, "{link}");
    assert!(link["bytes_per_s"].as_f64() > Some(0.0), "{link}");
    let text = printed("map --for 500ms");
    assert!(
        text.contains("who talks to whom") && text.contains("workload"),
        "{text}"
    );
    assert!(text.contains(&group) && !text.contains('\x1b'), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("map.svg");
    printed(&format!("map --for 500ms --svg {}", file.display()));
    let picture = fs::read_to_string(&file).expect("a picture");
    for part in ["<svg ", "<desc id=\"desc\">", "workload", &group, "</svg>"] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    talk.end();
    end(agent);
    // It needs no agent.
    assert!(printed("map --for 100ms").contains("who talks to whom"));
}

#[test]
fn top_needs_an_agent_or_a_kept_table_and_says_so() {
    let _session = Session::start();
    let refused = socketvirt("top --json --count 1");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("start `socketvirt run`") && told.lines().count() == 1,
        "{told}"
    );
    for wrong in [
        "top --interval 1ms",
        "top --interval soon",
        "map --for 2h",
        "top --count 0",
    ] {
        assert!(!socketvirt(wrong).status.success(), "{wrong}");
    }
    let keeper = keep("");
    let talk = Talk::start(1);
    until("the pair is there", || {
        let shown = json(&printed("top --count 1 --interval 100ms --filter workload"));
        assert_eq!(
            (&shown["mode"], &shown["totals"]["fast_pairs"]),
            (&Value::Null, &0.into())
        );
        shown["pairs"][0]["bytes_per_s"].as_f64() > Some(0.0)
    });
    talk.end();
    end(keeper);
}

#[test]
fn the_terminal_is_as_before_after_a_key_and_after_a_signal() {
    let _session = Session::start();
    let apart = Apart::new();
    let (agent, talk) = at_work(&apart, 2);
    let shown = || {
        let terminal = top();
        until("the pairs are shown", || {
            let seen = terminal.seen();
            seen.contains("CLIENT") && seen.contains("workload(") && seen.contains("mode adopt")
        });
        terminal
    };
    let mut terminal = shown();
    terminal.type_keys("s/nowhere\r");
    until("the filter is in force", || {
        terminal.seen().contains("no pair mentions")
    });
    terminal.type_keys("q");
    assert!(terminal.finish().success());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = shown();
        terminal.signal(signal);
        assert!(terminal.finish().success(), "{signal}");
    }
    talk.end();
    // The agent goes, the screen stays.
    let mut terminal = shown_without_pairs();
    end(agent);
    until("the agent's end is seen", || {
        terminal.seen().contains("no agent")
    });
    terminal.type_keys("q");
    assert!(terminal.finish().success());
}

fn shown_without_pairs() -> Terminal {
    let terminal = top();
    until("the screen is there", || {
        terminal.seen().contains("mode adopt")
    });
    terminal
}
