//! Trace points that each receive call of the host passes are there only while
//! they are needed.

use std::fs;

use nix::{sys::stat::Mode as Permissions, unistd::mkfifo};
use socketvirt_tests::{
    process::until,
    run::{Mode, Run, shell, workload_path},
    session::Session,
};
use test_support::leftovers::Trace;

/// True when the agent has its home, with or without the link that shows it receive
/// calls.
fn watches(session: &Session, calls: bool) -> bool {
    let left = session.left();
    let mut homes = left.iter().filter_map(Trace::path);
    homes.any(|home| home.join("link_exec").exists() && home.join("link_receive").exists() == calls)
}

/// They leave an agent that has no pair, and come back before the next is
/// adopted: its readers are known.
#[test]
fn receive_calls_are_watched_before_a_pair_is_adopted() {
    let session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let begin = folder.path().join("begin");
    mkfifo(&begin, Permissions::S_IRWXU).expect("a FIFO");
    let script = format!(
        "read word < {}; \
         exec {} streams --io edge --phases 'fast@200,pp:1@200!go,pp:20@200'",
        begin.display(),
        workload_path(),
    );
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    until("calls are watched", || watches(&session, true));
    until("no call is watched", || watches(&session, false));
    fs::write(&begin, "go\n").expect("the file to begin");
    running.until(|seen| seen.adopted > 0);
    assert!(watches(&session, true));
    running.go();
    let outcome = running.finish();
    outcome.success();
    let summary = outcome.summary().accelerated();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
}

/// They leave an agent whose pairs are at work, but none could be adopted.
#[test]
fn receive_calls_are_not_watched_for_pairs_that_are_kept() {
    let session = Session::start();
    let args = "streams --io blocking --phases 'pp:1@200!go,pp:20@200'";
    let script = format!("exec {} {args}", workload_path());
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    until("calls are watched", || watches(&session, true));
    until("no call is watched", || watches(&session, false));
    running.until(|seen| seen.pairs > 0);
    assert!(watches(&session, false));
    running.go();
    let outcome = running.finish();
    outcome.success().left_alone("blocking");
}
