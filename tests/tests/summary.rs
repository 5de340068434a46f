//! The summary as an interface, who is left alone, and arguments that are
//! refused before anything is attached.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

use socketvirt_common::record::stats::SLOTS;
use socketvirt_tests::{
    process::{PATIENCE, Process, until},
    programs::{free_port, required},
    run::{BESIDE, GO, Mode, Run, beside_adopted, binary, shell, workload, workload_path},
    session::{self, Session},
};

#[test]
fn has_all_fields() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let outcome = Run::new(
            mode,
            workload("streams --connections 2 --phases fast@200,stream:100K"),
        )
        .success();
        let summary = outcome.summary();
        assert_eq!(summary.word("/mode"), mode.word());
        assert_eq!(summary.word("/effective_mode"), mode.word());
        let told = format!("socketvirt: accelerating in mode {mode}, receive mode ");
        assert!(
            outcome.finished.stderr.starts_with(&told) || mode == Mode::Eager,
            "{}",
            outcome.finished.report()
        );
        assert!(
            outcome.finished.stderr.contains(&told),
            "{}",
            outcome.finished.report()
        );
        let receive_mode = summary.word("/receive_mode");
        assert!(
            ["unified", "tx_only", "table_only"].contains(&receive_mode),
            "{summary}"
        );
        assert_eq!(summary.count("/pairs"), 2, "{summary}");
        assert_eq!(summary.count("/adopted"), 2, "{summary}");
        for pointer in [
            "/released",
            "/bytes/fast",
            "/bytes/stack",
            "/messages/fast",
            "/messages/stack",
            "/switches/to_fast",
            "/switches/to_stack",
        ] {
            let _ = summary.count(pointer);
        }
        let _ = summary.counts("/left_on_stack");
        summary.accelerated();
        assert!(summary.count("/messages/fast") > 0, "{summary}");
        // Those that handshakes enrol have not waited.
        if mode == Mode::Adopt {
            let times = 0..SLOTS;
            let waited =
                times.map(|slot| summary.count(&format!("/adoption_time/pairs/{slot}/pairs")));
            assert_eq!(waited.sum::<u64>(), 2, "{summary}");
        }
    }
}

/// Every byte is counted, on one path or the other.
#[test]
fn counts_every_byte() {
    let _session = Session::beside_others();
    let args = "streams --connections 4 --phases fast@200,stream:300K,up:1M";
    let sent = |stdout: &str| -> u64 {
        let report = |line| serde_json::from_str::<serde_json::Value>(line).expect("a report");
        stdout
            .lines()
            .map(|l| report(l)["sent"].as_u64().expect("a count"))
            .sum()
    };
    for mode in Mode::ACCELERATED {
        let outcome = Run::new(mode, workload(args)).success();
        let summary = outcome.summary();
        let counted = summary.fast_bytes() + summary.stack_bytes();
        assert_eq!(counted, sent(&outcome.finished.stdout), "{mode}: {summary}");
    }
}

#[test]
fn nothing_to_do() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let outcome = Run::new(mode, shell("true")).success();
        let summary = outcome.summary();
        for pointer in [
            "/pairs",
            "/adopted",
            "/released",
            "/bytes/fast",
            "/bytes/stack",
        ] {
            assert_eq!(summary.count(pointer), 0, "{pointer}: {summary}");
        }
        assert!(summary.counts("/errors").is_empty(), "{summary}");
    }
}

/// Only one end is in the cgroup: there is no pair, so nothing is enrolled.
#[test]
fn peers_outside_are_left_alone() {
    let _session = Session::beside_others();
    let port = free_port().to_string();
    let mut server = Command::new(required("redis-server"));
    server
        .args(["--port", &port, "--save", "", "--appendonly", "no"])
        .stdin(Stdio::null());
    let server = Process::start(&mut server);
    until("redis is ready", || {
        server.stdout().contains("Ready to accept")
    });
    for mode in Mode::ACCELERATED {
        let kv = format!("{} kv --protocol redis", workload_path());
        let script = format!("{kv} --port {port} --rate 300 --operations 1 --until-go");
        let outcome = Run::new(mode, beside_adopted(&script)).success();
        assert_eq!(outcome.redirected(), 0, "{}", outcome.summary());
        let summary = outcome.summary();
        // In adopt mode such sockets are never followed, nor in eager mode those of a
        // program that was not inspected yet.
        let reasons: &[_] = match mode {
            Mode::Eager => &["peer_not_here", "too_short"],
            _ => &["too_short"],
        };
        let left: u64 = reasons.iter().map(|reason| summary.left(reason)).sum();
        assert!(left > 0, "{mode}: {summary}");
        assert_eq!(summary.count("/pairs"), BESIDE, "{summary}");
        assert_eq!(summary.count("/adopted"), BESIDE, "{summary}");
    }
}

/// Connections outside of the command are none of its business.
#[test]
fn connections_outside_are_not_seen() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let others = beside_adopted(&format!("until [ -e ${GO} ]; do sleep 0.1; done"));
        let outside = workload("streams --connections 4 --phases pp:1@200!go");
        let outside = Run::new(Mode::Plain, outside).held().start();
        let outcome = Run::new(mode, others).success();
        let mut outside = outside;
        outside.go();
        outside.finish().success();
        let summary = outcome.summary();
        for pointer in ["/pairs", "/adopted"] {
            assert_eq!(summary.count(pointer), BESIDE, "{pointer}: {summary}");
        }
    }
}

#[test]
fn bulk_is_left_alone() {
    let _session = Session::beside_others();
    let phases = "slowup:256K!go";
    let script = format!(
        "{} streams --connections 2 --phases {phases}",
        workload_path()
    );
    let outcome = Run::new(Mode::Adopt, beside_adopted(&script)).success();
    let summary = outcome.summary();
    assert_eq!(outcome.redirected(), 0, "{summary}");
    let reasons = summary.counts("/left_on_stack");
    let worth = ["bulk", "not_worth", "too_short"]
        .iter()
        .any(|r| reasons.contains_key(*r));
    assert!(worth, "{summary}");
}

/// Each of these is refused with one error, before anything is attached.
#[test]
fn refuses_bad_arguments() {
    let session = Session::beside_others();
    let folder = tempfile::tempdir().expect("a directory");
    let folder = folder.path().display().to_string();
    let lines = [
        "exec".to_owned(),
        "exec --".to_owned(),
        "exec --mode fast -- true".to_owned(),
        "exec --scan-interval soon -- true".to_owned(),
        "exec --scan-interval 0 -- true".to_owned(),
        "run --scan-interval 10".to_owned(),
        format!("exec --summary {folder}/missing/summary.json -- true"),
        format!("exec --summary {folder} -- true"),
        "exec --no-such-option -- true".to_owned(),
    ];
    for line in &lines {
        let finished = start(line.split_whitespace().map(OsString::from));
        assert!(!finished.status.success(), "{line}: {}", finished.report());
        refused(line, &finished.stderr);
        session.clean();
    }
}

#[test]
fn reports_a_command_that_cannot_be_run() {
    let session = Session::beside_others();
    let folder = tempfile::tempdir().expect("a directory");
    for (command, code) in [
        ("/no/such/program".to_owned(), 127),
        (folder.path().display().to_string(), 126),
    ] {
        let finished = start(["exec", "--", &command].map(OsString::from));
        assert_eq!(
            finished.status.code(),
            Some(code),
            "{command}: {}",
            finished.report()
        );
        assert!(
            finished.stderr.contains(&command),
            "the command is not named: {}",
            finished.report()
        );
        session.clean();
    }
}

#[test]
fn refuses_to_run_without_root() {
    let session = Session::beside_others();
    // The binary has to be reachable for the other user.
    let folder = tempfile::tempdir_in("/tmp").expect("a directory");
    let copy = folder.path().join("socketvirt");
    std::fs::copy(binary(), &copy).expect("copy the binary");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("open the directory");
    let mut command = Command::new(required("setpriv"));
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy);
    command.args(["exec", "--", "true"]).stdin(Stdio::null());
    let finished = Process::start(&mut command).finish(PATIENCE);
    assert!(!finished.status.success(), "{}", finished.report());
    refused("without root", &finished.stderr);
    assert!(finished.stderr.contains("root"), "{}", finished.report());
    session.clean();
}

fn start(args: impl IntoIterator<Item = OsString>) -> socketvirt_tests::process::Finished {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    let mut process = Process::start(&mut command);
    session::started(process.pid());
    process.finish(PATIENCE)
}

/// One error, in words, and no trace of a panic.
#[track_caller]
fn refused(what: &str, stderr: &str) {
    let errors = stderr
        .lines()
        .filter(|l| l.contains("error:") || l.starts_with("socketvirt:"))
        // Told before the command is tried.
        .filter(|l| !l.starts_with("socketvirt: accelerating in mode "))
        .count();
    assert_eq!(errors, 1, "{what}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}
