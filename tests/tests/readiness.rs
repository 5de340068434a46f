//! Readiness: who speaks first, pipelined requests.

use serde_json::Value;
use socketvirt_tests::{
    run::{Mode, Outcome, Run, begun},
    session::Session,
};

fn run(mode: Mode, args: &str) -> Outcome {
    let outcome = Run::new(mode, begun(mode, &format!("streams {args}"))).success();
    outcome.summary().accelerated();
    outcome
}

/// Reads that found nothing after epoll had called the socket readable.
fn spurious(outcome: &Outcome) -> u64 {
    let reports = outcome
        .finished
        .stdout
        .lines()
        .map(serde_json::from_str::<Value>);
    reports
        .map(|r| r.expect("a report")["spurious"].as_u64().expect("a count"))
        .sum()
}

#[test]
fn readable_means_readable() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let outcome = run(
            mode,
            "--io level --connections 16 --phases fast@150,stream:500K,pipe:50x16,pp:500",
        );
        assert_eq!(
            spurious(&outcome),
            0,
            "{mode}: epoll called sockets readable that were not"
        );
    }
}

#[test]
fn round_trips() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        for io in ["level", "edge", "edge-short"] {
            run(
                mode,
                &format!("--io {io} --connections 8 --phases fast@200,pp:3000x512,pp:500x16K"),
            );
        }
    }
}

#[test]
fn server_speaks_first() {
    let _session = Session::beside_others();
    for (mode, io) in [
        (Mode::Adopt, "level"),
        (Mode::Adopt, "edge"),
        (Mode::Eager, "level"),
        (Mode::Eager, "edge-short"),
        (Mode::Eager, "single"),
        (Mode::Eager, "blocking --retry-eagain"),
    ] {
        run(
            mode,
            &format!("--io {io} --server-first --connections 8 --phases rfast@150,rpp:1000,pp:100"),
        );
    }
}

#[test]
fn pipelined_requests() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        for io in ["level", "edge", "edge-short"] {
            run(
                mode,
                &format!("--io {io} --connections 8 --phases fast@150,pipe:200x64"),
            );
        }
    }
}

#[test]
fn nagle_left_on() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        run(
            mode,
            "--io level --nagle --connections 4 --phases fast@100,stream:300K",
        );
    }
}
