//! Suitability and worth.

use proptest::prelude::*;
use socketvirt_common::{
    path::{SEND_SHUTDOWN, TCP_CLOSE_WAIT, TCP_ESTABLISHED, may_send},
    reason::{REASONS, Reason},
    suitable::{Facts, Reading, unadoptable, unsuitable},
    worth::{Sent, WINDOW, Worth, begins_anew, judge},
};

const SUITABLE: Facts = Facts {
    state: TCP_ESTABLISHED,
    shutdown: 0,
    rcvlowat: 1,
    peek_off: -1,
    zero_copy: false,
    timestamp: false,
    inq: false,
    ulp: false,
    mptcp: false,
    urgent: false,
    charged: false,
    filtered: false,
    paced: false,
    mapped: false,
    signals: false,
    foreign: false,
};

#[test]
fn every_fact_alone_keeps_a_socket_out() {
    type Change = fn(&mut Facts);
    assert_eq!(unsuitable(&SUITABLE), Reason::None);
    let cases: [(Change, Reason); 17] = [
        (|facts| facts.state = TCP_CLOSE_WAIT, Reason::Closing),
        (|facts| facts.shutdown = 1, Reason::Closing),
        (|facts| facts.rcvlowat = 2, Reason::Rcvlowat),
        (|facts| facts.signals = true, Reason::SignalDriven),
        (|facts| facts.peek_off = 0, Reason::PeekOffset),
        (|facts| facts.peek_off = 7, Reason::PeekOffset),
        (|facts| facts.zero_copy = true, Reason::ZeroCopy),
        (|facts| facts.timestamp = true, Reason::Timestamp),
        (|facts| facts.inq = true, Reason::Inq),
        (|facts| facts.filtered = true, Reason::Filtered),
        (|facts| facts.paced = true, Reason::Paced),
        (|facts| facts.mapped = true, Reason::Mapped),
        (|facts| facts.ulp = true, Reason::Ulp),
        (|facts| facts.mptcp = true, Reason::Mptcp),
        (|facts| facts.urgent = true, Reason::Urgent),
        (|facts| facts.charged = true, Reason::MemoryLimit),
        (|facts| facts.foreign = true, Reason::Foreign),
    ];
    for (change, reason) in cases {
        let mut facts = SUITABLE;
        change(&mut facts);
        assert_eq!(unsuitable(&facts), reason);
    }
}

#[test]
fn only_an_idle_nonblocking_reader_is_adopted() {
    let idle = Reading {
        has_file: true,
        nonblocking: true,
        reader_asleep: false,
        all_read: true,
    };
    assert_eq!(unadoptable(&idle, false), Reason::None);
    let cases = [
        (
            Reading {
                has_file: false,
                ..idle
            },
            Reason::NoFile,
        ),
        (
            Reading {
                nonblocking: false,
                ..idle
            },
            Reason::Blocking,
        ),
        (
            Reading {
                reader_asleep: true,
                ..idle
            },
            Reason::ReaderAsleep,
        ),
        (
            Reading {
                all_read: false,
                ..idle
            },
            Reason::Unread,
        ),
    ];
    for (reading, reason) in cases {
        assert_eq!(unadoptable(&reading, false), reason);
        let unified = unadoptable(&reading, true);
        assert_eq!(unified == Reason::None, reason == Reason::Unread);
    }
}

#[test]
fn sending_after_shutdown_is_for_the_stack_to_refuse() {
    assert!(may_send(TCP_ESTABLISHED, 0));
    assert!(may_send(TCP_CLOSE_WAIT, 1));
    assert!(!may_send(TCP_ESTABLISHED, SEND_SHUTDOWN));
    for state in (0..=12).filter(|&state| state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT) {
        assert!(!may_send(state, 0));
    }
}

fn sent(bytes: u64, messages: u32) -> Sent {
    Sent { bytes, messages }
}

#[test]
fn traffic_is_judged_by_its_exchanges() {
    // A request of 100 bytes and a response of 1 KB, many times.
    assert_eq!(
        judge(&sent(10_000, 100), &sent(100_000, 100)),
        Worth::Exchange
    );
    // The same with responses cut into segments of 1448 bytes.
    assert_eq!(
        judge(&sent(10_000, 100), &sent(1_600_000, 1_200)),
        Worth::Exchange
    );
    // Bodies of 1 MB.
    assert_eq!(judge(&sent(1_000, 10), &sent(10_000_000, 160)), Worth::Bulk);
    // One way.
    assert_eq!(judge(&sent(0, 0), &sent(1_000_000, 1_000)), Worth::Bulk);
    // 64 KB each way.
    assert_eq!(
        judge(&sent(6_553_600, 100), &sent(6_553_600, 100)),
        Worth::Exchange
    );
    // A keep-alive now and then.
    assert_eq!(judge(&sent(100, 1), &sent(100, 1)), Worth::Quiet);
    assert_eq!(judge(&sent(0, 0), &sent(0, 0)), Worth::Quiet);
}

/// A slow exchange is measured for a whole window, whatever the looks in between.
#[test]
fn measuring_goes_on_until_something_is_known() {
    assert!(!begins_anew(Worth::Quiet, WINDOW - 1));
    assert!(begins_anew(Worth::Quiet, WINDOW));
    assert!(begins_anew(Worth::Exchange, 1));
    assert!(begins_anew(Worth::Bulk, 1));
}

#[test]
fn reasons_are_numbered_without_gaps_and_named_once() {
    let mut words = std::collections::BTreeSet::new();
    for (number, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, number);
        assert!(words.insert(reason.word()), "{} twice", reason.word());
    }
    assert_eq!(words.len(), REASONS);
}

proptest! {
    #[test]
    fn a_verdict_on_worth_does_not_depend_on_who_asks(
        a in (any::<u32>(), any::<u32>()),
        b in (any::<u32>(), any::<u32>()),
    ) {
        let (a, b) = (sent(a.0.into(), a.1), sent(b.0.into(), b.1));
        prop_assert_eq!(judge(&a, &b), judge(&b, &a));
    }
}
