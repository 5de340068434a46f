//! `socketvirt doctor`: its schema, its exit codes, that its answers fit each
//! other, and that it leaves nothing behind.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use socketvirt_tests::{
    process::{Finished, PATIENCE, Process, until},
    run::binary,
    session::{self, Session, cgroup_root},
};

const VERDICTS: [&str; 7] = [
    "works", "guarded", "partly", "refused", "differs", "absent", "unclear",
];

fn run(mut command: Command) -> Finished {
    let mut process = Process::start(&mut command);
    session::started(process.pid());
    process.finish(PATIENCE)
}

fn doctor(arguments: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("doctor").args(arguments);
    run(command)
}

fn parse(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", finished.report()))
}

#[track_caller]
fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name]
        .as_array()
        .unwrap_or_else(|| panic!("no list {name} in {report}"))
}

#[track_caller]
fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no word {name} in {value}"))
}

/// Lists what doctor makes and must take away.
fn left() -> Vec<String> {
    fn collect(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains("doctor-") {
                found.push(entry.path().display().to_string());
            }
            collect(&entry.path(), found);
        }
    }
    let mut found = Vec::new();
    collect(&cgroup_root(), &mut found);
    collect(Path::new("/sys/fs/bpf/socketvirt"), &mut found);
    found
}

#[test]
fn reports_by_its_schema() {
    let session = Session::start();
    let finished = doctor(&["--json"]);
    let report = parse(&finished);
    assert_eq!(report["schema"], 1);
    assert_eq!(
        word(&report, "kernel"),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .expect("the release")
            .trim()
    );
    let advisable = report["advisable"].as_bool().expect("advisable");
    assert_eq!(
        finished.status.code(),
        Some(i32::from(!advisable)),
        "{}",
        finished.report()
    );
    let recommendation = &report["recommendation"];
    let mode = if advisable { "adopt" } else { "table-only" };
    assert_eq!(word(recommendation, "mode"), mode);
    assert_eq!(
        advisable,
        list(recommendation, "reasons").is_empty(),
        "{recommendation}"
    );
    let used = word(recommendation, "receive_mode");
    let passes = list(&report, "receive_modes")
        .iter()
        .find(|found| found["passes"] == true)
        .map_or("table-only", |found| word(found, "mode"));
    if advisable {
        assert_eq!(used, passes);
    }

    for requirement in list(&report, "requirements") {
        assert!(!word(requirement, "name").is_empty());
        assert!(!word(requirement, "found").is_empty(), "{requirement}");
        assert!(requirement["needed"].is_boolean() && requirement["met"].is_boolean());
    }
    let mut names = BTreeSet::new();
    for difference in list(&report, "differences") {
        assert!(names.insert(word(difference, "name")), "{difference}");
        for text in ["title", "fact", "plain"] {
            assert!(!word(difference, text).is_empty(), "{difference}");
        }
        for mode in ["adopt", "eager"] {
            assert!(VERDICTS.contains(&word(difference, mode)), "{difference}");
        }
        for mode in ["unified", "tx_only"] {
            let seen = &difference[mode];
            assert_eq!(
                seen["answer"].is_null(),
                word(seen, "result") == "same",
                "{difference}"
            );
        }
    }
    assert!(names.len() >= 25, "{names:?}");
    session.clean();
    assert_eq!(left(), Vec::<String>::new());
}

/// Verdicts follow from what was seen: the scripts tell an enrolled socket
/// from a plain one, and only a guard that held keeps a difference away.
#[test]
fn verdicts_follow_from_what_was_seen() {
    let _session = Session::start();
    let finished = doctor(&["--json"]);
    let report = parse(&finished);
    let differences = list(&report, "differences");
    let named = |name: &str| {
        differences
            .iter()
            .find(|difference| difference["name"] == name)
            .unwrap_or_else(|| panic!("no difference {name}"))
    };
    // No kernel up to now loops the wait of a blocking receive, nor does any
    // splice out of an enrolled socket.
    for name in ["signal", "reset", "splice", "rcvlowat", "close_unread"] {
        let seen = &named(name)["unified"];
        assert_eq!(word(seen, "result"), "differs", "{name}: {seen}");
        assert_ne!(seen["answer"], named(name)["plain"], "{name}");
    }
    for difference in differences {
        for mode in ["unified", "tx_only"] {
            let seen = &difference[mode];
            assert_ne!(word(seen, "result"), "unclear", "{difference}");
        }
    }
    if list(&report, "receive_modes")
        .iter()
        .all(|found| found["passes"] == false)
    {
        assert_eq!(report["advisable"], false);
        return;
    }
    assert_eq!(report["advisable"], true, "{}", finished.report());
    let guards = list(&report, "guards");
    for guard in guards {
        let result = word(guard, "result");
        assert!(["held", "absent"].contains(&result), "{guard}");
    }
    for difference in differences {
        // Rules are no guards: nothing is kept off by them.
        if difference["unified"]["result"] != "differs" || difference["guard"].is_null() {
            continue;
        }
        let guard = guards
            .iter()
            .find(|guard| guard["reason"] == difference["guard"])
            .unwrap_or_else(|| panic!("no guard of {difference}"));
        assert_eq!(guard["result"], "held", "{difference}");
        let adopt = word(difference, "adopt");
        assert!(["guarded", "partly"].contains(&adopt), "{difference}");
    }
    assert_eq!(word(named("signal"), "eager"), "differs");
}

#[test]
fn prints_a_table_and_what_to_do() {
    let _session = Session::start();
    let finished = doctor(&[]);
    let lines: Vec<_> = finished.stdout.lines().collect();
    let title = lines
        .iter()
        .position(|line| line.starts_with("DIFFERENCE"))
        .unwrap_or_else(|| panic!("{}", finished.report()));
    // Aligned: the second column begins where its title does.
    let column = lines[title].find("ADOPT").expect("a column");
    for line in lines[title + 1..]
        .iter()
        .take_while(|line| !line.is_empty())
    {
        let (before, after) = line.split_at(column);
        assert!(before.ends_with("  ") && !after.starts_with(' '), "{line}");
    }
    let recommended = lines.iter().any(|line| line.starts_with("recommended: "));
    assert!(recommended, "{}", finished.report());
}

/// Every missing thing is named, with what to do, and nothing is tried.
#[test]
fn names_what_is_missing() {
    let _session = Session::start();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(binary());
        run(command)
    };
    for (name, advice, script) in [
        (
            "btf",
            "CONFIG_DEBUG_INFO_BTF=y",
            "exec unshare --mount sh -c 'mount -t tmpfs none /sys/kernel/btf && \
             exec \"$0\" doctor --json' \"$1\"",
        ),
        (
            "capabilities",
            "start it as root",
            "exec setpriv --bounding-set -net_admin \"$1\" doctor --json",
        ),
    ] {
        let finished = shell(script);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.report());
        let report = parse(&finished);
        assert_eq!(report["advisable"], false);
        assert_eq!(report["recommendation"]["mode"], "table-only");
        let requirement = list(&report, "requirements")
            .iter()
            .find(|requirement| requirement["name"] == name)
            .unwrap_or_else(|| panic!("{report}"));
        assert_eq!(requirement["met"], false, "{requirement}");
        assert!(word(requirement, "found").contains(advice), "{requirement}");
        assert!(list(&report, "differences").is_empty());
    }
    assert_eq!(left(), Vec::<String>::new());
}

/// An agent may start and not work, or not for every socket. Each shortcoming is
/// named with what it is for, by doctor and by the start. A limit speaks against
/// nothing.
#[test]
fn capabilities_by_halves_are_named() {
    let _session = Session::start();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let for_all = paranoid.is_ok_and(|text| text.trim().parse::<i32>().is_ok_and(|n| n <= 1));
    for (capability, word, name, left, is_limit) in [
        ("syslog", "CAP_SYSLOG", "symbols", "reader_asleep", false),
        (
            "sys_ptrace",
            "CAP_SYS_PTRACE",
            "other_users",
            "unseen",
            true,
        ),
    ] {
        if capability == "syslog" && for_all {
            eprintln!("SKIPPED: everybody may see the addresses of kernel functions here");
            continue;
        }
        let without = |args: &[&str]| {
            let mut command = Command::new("setpriv");
            command.arg(format!("--bounding-set=-{capability}"));
            command.arg(binary()).args(args);
            run(command)
        };
        let finished = without(&["doctor", "--json"]);
        let (code, mode) = if is_limit {
            (0, "adopt")
        } else {
            (1, "table-only")
        };
        assert_eq!(finished.status.code(), Some(code), "{}", finished.report());
        let report = parse(&finished);
        assert_eq!(report["advisable"], is_limit);
        assert_eq!(report["recommendation"]["mode"], mode);
        let reasons = report["recommendation"]["reasons"].to_string();
        assert_eq!(reasons.contains(word), !is_limit, "{reasons}");
        let requirement = list(&report, "requirements")
            .iter()
            .find(|requirement| requirement["name"] == name)
            .unwrap_or_else(|| panic!("{report}"));
        assert_eq!(requirement["met"], false, "{requirement}");
        assert_eq!(requirement["needed"], !is_limit, "{requirement}");
        let found = requirement["found"].as_str().expect("words");
        assert!(found.contains(word) && found.contains(left), "{found}");
        let finished = without(&["exec", "--", "true"]);
        finished.success();
        let told = format!("socketvirt: {word} is missing, for ");
        assert!(finished.stderr.contains(&told), "{}", finished.report());
    }
    assert_eq!(left(), Vec::<String>::new());
}

/// A signal waits until everything is taken away.
#[test]
fn leaves_nothing_when_interrupted() {
    let session = Session::start();
    let mut command = Command::new(binary());
    command.args(["doctor", "--json"]);
    let mut process = Process::start(&mut command);
    session::started(process.pid());
    until("a scratch cgroup", || !left().is_empty());
    process.signal(nix::sys::signal::Signal::SIGTERM);
    let finished = process.finish(PATIENCE);
    assert!(!finished.status.success(), "{}", finished.report());
    session.clean();
    assert_eq!(left(), Vec::<String>::new());
}
