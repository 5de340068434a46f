//! A limit of memory for sockets never fails a send that plain TCP would have
//! let wait, and what was redirected before is redirected again once there is
//! memory.

use socketvirt_tests::{
    cgroup::{Inside, Limit},
    run::{Mode, Run, redirected, workload},
    session::Session,
};

/// More than the queues below it would take.
const WIDE: u64 = 64 << 20;
/// What the queues of some readers fill.
const NARROW: u64 = 512 << 10;
/// Less than one message may need.
const TINY: u64 = 32 << 10;

/// Readers that stand still until the memory of their cgroup, which is not that
/// of their senders, is used up; then they read, and answer once more.
fn readers(message: u32, connections: u32, blocking: &str, rounds_after: u32) -> String {
    format!(
        "--deadline 60 backpressure --message {message} --connections {connections} {blocking} \
         --warm-rounds 20 --warm-rate 100000 --rounds-after {rounds_after}"
    )
}

#[test]
fn a_reader_out_of_memory_stops_its_sender_as_plain_tcp_would() {
    let _session = Session::start();
    let Some(limit) = Limit::make(NARROW) else {
        return;
    };
    for (message, blocking) in [(4096, ""), (1000, "--blocking")] {
        let line = readers(message, 16, blocking, 0);
        let line = format!("{line} --readers-in {}", limit.folder().display());
        Run::new(Mode::Plain, workload(&line)).success();
        assert!(limit.peak() >= NARROW, "plain TCP has memory left: {line}");
        redirected(Mode::Eager, &workload(&format!("--eager {line}")))
            .summary()
            .accelerated();
    }
}

/// A limit too small for anything: what is sent there takes the stack, the
/// other direction does not.
#[test]
fn no_memory_from_the_first_byte() {
    let _session = Session::start();
    let Some(limit) = Limit::make(TINY) else {
        return;
    };
    let line = format!(
        "{} --readers-in {}",
        readers(1000, 4, "", 0),
        limit.folder().display()
    );
    let outcome = redirected(Mode::Eager, &workload(&line));
    let summary = outcome.summary();
    // Connections that come before the program was looked at stay plain.
    let answers = 1..=4 * 20;
    assert!(
        answers.contains(&summary.count("/messages/fast")),
        "not the answers alone: {summary}"
    );
}

/// Senders and readers together, at the same time.
#[test]
fn both_ends_out_of_memory() {
    let _session = Session::start();
    let Some(limit) = Limit::make(2 << 20) else {
        return;
    };
    let _inside = Inside::enter(limit.folder());
    for mode in [Mode::Plain, Mode::Eager] {
        let line = readers(4096, 64, "", 0);
        let outcome = redirected(mode, &workload(&line));
        if mode == Mode::Eager {
            outcome.summary().accelerated();
        }
    }
}

#[test]
fn redirected_again_once_there_is_memory() {
    let _session = Session::start();
    let Some(limit) = Limit::make(NARROW) else {
        return;
    };
    let line = |rounds| {
        // Few enough not to be bulk.
        let line = readers(1000, 16, "--limit 60", rounds);
        format!("{line} --readers-in {}", limit.folder().display())
    };
    let fast = |rounds| {
        let outcome = redirected(Mode::Eager, &workload(&line(rounds)));
        // Most of what was sent to readers that stood still.
        assert!(
            outcome.summary().stack_bytes() > 1 << 19,
            "{}",
            outcome.summary()
        );
        outcome.summary().count("/messages/fast")
    };
    let (before, all) = (fast(0), fast(1000));
    assert!(
        all > before + 16 * 1000,
        "{before} without the rounds after, {all} with them"
    );
}

/// A limit that is far away costs nothing.
#[test]
fn a_wide_limit_changes_nothing() {
    let _session = Session::start();
    let Some(limit) = Limit::make(WIDE) else {
        return;
    };
    let _inside = Inside::enter(limit.folder());
    let line = "--deadline 60 streams --connections 4 --phases pp:500,pipe:50x16,pp:500";
    let outcome = redirected(Mode::Eager, &workload(line));
    outcome.summary().accelerated();
    assert_eq!(
        outcome.summary().left("memory_limit"),
        0,
        "{}",
        outcome.summary()
    );
}
