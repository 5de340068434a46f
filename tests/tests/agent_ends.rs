//! The end of an agent: by a signal, or because a part of it has failed.

use std::{
    fs,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use socketvirt_tests::{
    cgroup::Apart,
    live::home,
    process::{Process, until},
    run::{GO, Mode, Run, shell, workload, workload_path},
    session::Session,
    table::keep::{PATIENCE, accelerate, keep},
};

/// The next visit fails: the watching thread reads this file.
fn spoil(home: &std::path::Path) {
    fs::remove_file(home.join("act")).expect("unpin the visits");
}

#[test]
fn a_failing_watch_ends_the_agent_of_a_host() {
    let session = Session::start();
    let _apart = Apart::new();
    let mut agent = accelerate("--mode adopt");
    spoil(&home(agent.pid()).expect("its home"));
    let mut command = Command::new(&workload("")[0]);
    command
        .args(["streams", "--connections", "2", "--phases", "pp:4@200!go"])
        .stdin(Stdio::null());
    let folder = tempfile::tempdir().expect("a directory");
    let go = folder.path().join("go");
    let mut traffic = Process::start(command.env(GO, &go));
    let ended = agent.finish(PATIENCE);
    fs::write(&go, "").expect("the sign to go on");
    traffic.finish(PATIENCE).success();

    assert_eq!(ended.status.code(), Some(1), "{}", ended.report());
    let told = "socketvirt: the agent cannot go on: walking the TCP sockets by ";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.report());
    assert!(
        ended
            .stderr
            .lines()
            .last()
            .is_some_and(|line| line.starts_with(told)),
        "{}",
        ended.report()
    );
    session.clean();
}

#[test]
fn a_failing_watch_leaves_the_command_alone() {
    let session = Session::start();
    let script = format!(
        "until [ -e ${GO} ]; do sleep 0.05; done; \
         {} streams --connections 2 --phases pp:4@200!end && exit 7",
        workload_path()
    );
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    let agent = running.process.pid();
    until("the command is at work", || {
        running.process.stderr().contains("accelerating")
    });
    spoil(&home(agent).expect("its home"));
    running.go();
    let told =
        "socketvirt: nothing is accelerated any more, the command goes on as plain TCP: walking";
    until("it is told", || running.process.stderr().contains(told));
    assert_eq!(home(agent), None, "something stays pinned");
    running.end();
    let outcome = running.finish();
    let report = outcome.finished.report();
    assert_eq!(outcome.finished.status.code(), Some(7), "{report}");
    assert_eq!(
        outcome.finished.stderr.matches("walking").count(),
        1,
        "{report}"
    );
    assert_eq!(outcome.summary().count("/adopted"), 0, "{report}");
    session.clean();
}

#[test]
fn a_hangup_is_told_and_a_termination_ends() {
    let session = Session::start();
    let _apart = Apart::new();
    for (start, args, told) in [
        (accelerate as fn(&str) -> Process, "--mode adopt", "bytes "),
        (keep, "", "found no room"),
    ] {
        let mut agent = start(args);
        for times in 1..=2 {
            agent.signal(Signal::SIGHUP);
            until("the hangup is told", || {
                agent.stderr().matches("SIGHUP: ").count() == times
            });
        }
        agent.signal(Signal::SIGTERM);
        let ended = agent.finish(PATIENCE);
        ended.success();
        assert!(ended.stderr.contains(told), "{}", ended.report());
        assert_eq!(
            ended.stderr.matches("SIGHUP: ").count(),
            2,
            "{}",
            ended.report()
        );
    }
    session.clean();
}
