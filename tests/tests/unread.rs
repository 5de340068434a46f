//! Connections are adopted with bytes unread, and nobody notices.

use socketvirt_tests::{
    run::{Mode, Run, workload},
    scaled,
    session::Session,
    summary::Summary,
};

/// Runs a workload until a socket was adopted with bytes unread, at most three
/// times: visits choose the moment.
#[track_caller]
fn adopted_unread(args: &str) -> Summary {
    let attempt = || {
        let outcome = Run::new(Mode::Adopt, workload(args)).success();
        outcome.summary().clone()
    };
    let mut summary = attempt();
    for _ in 0..2 {
        if summary.count("/adopted_unread") > 0 {
            break;
        }
        summary = attempt();
    }
    assert!(summary.count("/adopted_unread") > 0, "{summary}");
    summary.accelerated();
    summary
}

#[test]
fn plain_tcp_passes() {
    let _session = Session::start();
    for args in [
        "unread --rounds 50",
        "unread --half --rounds 50",
        "unread --peek --rounds 50",
        "unread --ask --rounds 50",
    ] {
        Run::new(Mode::Plain, workload(args)).success();
    }
}

/// poll(2), epoll(7), `FIONREAD`, `MSG_PEEK` and recv(2) answer as before, whenever
/// the socket is enrolled: the workload fails otherwise.
#[test]
fn a_request_that_waits_is_not_disturbed() {
    let _session = Session::start();
    for seed in 0..scaled(2) {
        adopted_unread(&format!("unread --seed {seed}"));
    }
}

/// Runs a workload whose server is in a call most of the time while requests wait.
#[track_caller]
fn in_calls_meanwhile(what: &str) {
    let _session = Session::start();
    let connections = scaled(40);
    adopted_unread(&format!(
        "unread {what} --rounds 800 --connections {connections}"
    ));
}

/// A call that begins while its socket is enrolled finds the bytes that are there.
#[test]
fn calls_that_begin_meanwhile_find_their_bytes() {
    in_calls_meanwhile("--peek");
}

/// `FIONREAD` that begins while its socket is enrolled counts the bytes that are there.
#[test]
fn questions_that_begin_meanwhile_are_answered() {
    in_calls_meanwhile("--ask");
}

/// The read part of a packet can only be cut off with memory, and without it
/// bytes would be lost.
#[test]
fn half_a_request_keeps_its_socket_off() {
    let _session = Session::start();
    let attempt = |rounds: u32| {
        let args = format!("unread --half --rounds {rounds}");
        let outcome = Run::new(Mode::Adopt, workload(&args)).success();
        let summary = outcome.summary().clone();
        assert_eq!(summary.count("/adopted"), 0, "{summary}");
        summary
    };
    // On a slow machine no visit may have come that far.
    let mut summary = attempt(1000);
    if summary.left("unread") == 0 {
        summary = attempt(8000);
    }
    assert_eq!(summary.fast_bytes(), 0, "{summary}");
    assert!(summary.left("unread") > 0, "{summary}");
}

/// Busy connections of all kinds of readers. Each byte is checked.
#[test]
fn busy_connections_are_exact() {
    let _session = Session::start();
    let connections = scaled(64);
    for (io, phases) in [
        ("edge", "pp:1500"),
        ("level", "pp:200x128,stream:200K,pp:800,slowup:20K,pp:300"),
        ("edge-short", "pipe:60x16,pp:800,rpp:300,stream:100K,pp:300"),
    ] {
        let args = format!("streams --io {io} --connections {connections} --phases {phases}");
        adopted_unread(&args);
    }
}

/// Readers and writers of the same sockets are threads of one process.
#[test]
fn two_ends_in_one_process_are_exact() {
    let _session = Session::start();
    let connections = scaled(32);
    adopted_unread(&format!(
        "streams --threads --io edge --connections {connections} --seed 7 --phases pp:1500"
    ));
}
