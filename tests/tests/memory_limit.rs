//! Sockets under a limit of memory for sockets stay on plain TCP: an enrolled
//! one is refused memory where plain TCP has some in any case.

use socketvirt_tests::{
    cgroup::Limit,
    run::{Mode, Run, beside_adopted, workload},
    session::Session,
};

/// More than the queues below it would take.
const WIDE: u64 = 64 << 20;
/// The memory that the queues of some readers fill.
const NARROW: u64 = 512 << 10;
/// Less than one message may need.
const TINY: u64 = 32 << 10;

/// Readers that stand still until the memory of their cgroup, which is not that
/// of their senders, is used up; then they read, and answer once more.
fn readers(message: u32, connections: u32, blocking: &str) -> String {
    format!(
        "backpressure --message {message} --connections {connections} {blocking} \
         --warm-rounds 20 --warm-rate 100000"
    )
}

#[test]
fn a_reader_out_of_memory_stops_its_sender_as_plain_tcp_would() {
    let _session = Session::start();
    let Some(limit) = Limit::make(NARROW) else {
        return;
    };
    for (message, blocking) in [(4096, ""), (1000, "--blocking")] {
        let line = readers(message, 16, blocking);
        let line = format!("{line} --readers-in {}", limit.folder().display());
        Run::new(Mode::Plain, workload(&line)).success();
        assert!(limit.peak() >= NARROW, "plain TCP has memory left: {line}");
        Run::new(Mode::Eager, workload(&line)).success();
    }
}

/// A limit too small for anything.
#[test]
fn no_memory_from_the_first_byte() {
    let _session = Session::start();
    let Some(limit) = Limit::make(TINY) else {
        return;
    };
    let line = readers(1000, 4, "");
    let line = format!("{line} --readers-in {}", limit.folder().display());
    Run::new(Mode::Eager, workload(&line)).success();
}

/// Senders and readers together, at the same time.
#[test]
fn both_ends_out_of_memory() {
    let _session = Session::start();
    let Some(limit) = Limit::make(2 << 20) else {
        return;
    };
    for mode in [Mode::Plain, Mode::Eager] {
        Run::new(mode, limit.inside(&readers(4096, 64, ""))).success();
    }
}

/// A limit that is far away can come nearer at any time.
#[test]
fn a_wide_limit_keeps_off() {
    let _session = Session::start();
    let Some(limit) = Limit::make(WIDE) else {
        return;
    };
    for mode in Mode::ACCELERATED {
        let line = "streams --io edge --connections 4 --phases pp:1@300!go";
        let inside = limit.inside(line);
        let script = inside.last().expect("a script").to_string_lossy();
        // A shell of its own: `$$` in a subshell is the shell around it.
        let script = format!("exec sh -c '{script}'");
        let outcome = Run::new(mode, beside_adopted(&script)).success();
        let summary = outcome.summary();
        assert_eq!(outcome.redirected(), 0, "{summary}");
        // Or its program was not inspected when it connected.
        let left = summary.left("memory_limit") + summary.left("not_inspected");
        assert!(left > 0, "{summary}");
    }
}

/// An accepted socket is charged to nobody until accept(2), so the handshake
/// enrols it in eager mode. Its first send is then refused, where plain TCP has
/// memory for it, and nothing is under way that would wake its program.
#[test]
fn who_is_refused_memory_is_woken() {
    let _session = Session::start();
    let Some(limit) = Limit::make(NARROW) else {
        return;
    };
    let folder = limit.folder().display();
    let refused = |mode, first: &str| {
        let line = format!("{first}starved --server-in {folder}");
        let outcome = Run::new(mode, workload(&line)).success();
        outcome.finished.stdout.trim() != r#"{"refused":0}"#
    };
    assert!(!refused(Mode::Plain, ""));
    assert!(refused(Mode::Eager, "--eager "), "nothing was tested");
}
