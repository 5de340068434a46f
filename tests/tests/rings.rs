//! An `io_uring` keeps its program off once it is used for networking, not before.

use socketvirt_tests::{
    exchanger::{adopted_then_left, exchanger, keeps_off_itself_alone},
    run::{Mode, Run, shell},
    session::Session,
};

/// What is done by the ring does not keep the connection off.
#[track_caller]
fn is_adopted(words: &str) {
    let folder = exchanger(false);
    let script = format!("exec {}/exchanger {words}", folder.path().display());
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    running.until(|seen| seen.adopted > 0);
    running.go();
    running.end();
    let outcome = running.finish();
    let summary = outcome.success().summary();
    assert_eq!(summary.count("/released"), 0, "{summary}");
    assert_eq!(summary.left("ring"), 0, "{summary}");
}

#[test]
fn a_ring_for_files_keeps_nobody_off() {
    let _session = Session::beside_others();
    is_adopted("files");
}

/// A thread of the kernel submits for the program.
#[test]
fn a_polled_ring_for_files_keeps_nobody_off() {
    let _session = Session::beside_others();
    is_adopted("poll");
}

/// Another file that is read later changes nothing, for the next connections either.
#[test]
fn a_ring_that_stays_with_files_is_not_remembered() {
    let _session = Session::beside_others();
    is_adopted("files file");
}

/// In a cgroup, its program alone is kept off.
#[track_caller]
fn is_kept_off(words: &str) {
    let folder = exchanger(false);
    keeps_off_itself_alone(folder.path(), words, "ring");
}

#[test]
fn who_has_done_networking_by_a_ring_is_kept_off() {
    let _session = Session::beside_others();
    is_kept_off("network");
}

/// Nothing shows yet for what the ring is.
#[test]
fn who_has_an_unused_ring_is_kept_off() {
    let _session = Session::beside_others();
    is_kept_off("ring");
}

#[test]
fn who_hides_the_entries_of_its_ring_is_kept_off() {
    let _session = Session::beside_others();
    is_kept_off("unmapped");
}

#[test]
fn who_has_closed_its_ring_is_kept_off() {
    let _session = Session::beside_others();
    is_kept_off("gone");
}

/// The socket leaves. The program is remembered: its next connection stays plain, and
/// so does that of its next process, which has no ring.
#[track_caller]
fn leaves_and_is_remembered(words: &str) {
    let folder = exchanger(false);
    let script = format!("exec {}/exchanger {words}", folder.path().display());
    let outcome = adopted_then_left(&script);
    let summary = outcome.summary();
    assert_eq!(summary.count("/pairs"), 3, "{summary}");
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/released"), 1, "{summary}");
}

#[test]
fn who_sends_by_its_ring_leaves() {
    let _session = Session::beside_others();
    leaves_and_is_remembered("files send");
}

/// Which operation it is does not tell, but its descriptor.
#[test]
fn who_writes_to_a_socket_by_its_ring_leaves() {
    let _session = Session::beside_others();
    leaves_and_is_remembered("files write");
}

#[test]
fn who_sends_by_a_polled_ring_leaves() {
    let _session = Session::beside_others();
    leaves_and_is_remembered("poll send");
}

#[test]
fn who_sends_by_a_ring_that_it_makes_late_leaves() {
    let _session = Session::beside_others();
    leaves_and_is_remembered("files late");
}

/// It had no ring when its connection was adopted, and nothing of rings was watched:
/// the entries of the new one tell.
#[test]
fn who_sends_by_its_first_ring_leaves() {
    let _session = Session::beside_others();
    leaves_and_is_remembered("none late");
}
