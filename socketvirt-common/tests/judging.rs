//! Suitability and worth.

use proptest::prelude::*;
use socketvirt_common::{
    reason::{REASONS, Reason},
    record::config::ReceiveMode,
    rule::{
        path::may_send,
        suitable::{Candidate, Reading, Unread, unadoptable, unsuitable},
        worth::{Sent, WINDOW, Worth, begins_anew, judge},
    },
    uapi::{self, TCP_CLOSE_WAIT, TCP_ESTABLISHED},
};

/// As a socket holds it, in one byte.
const SEND_SHUTDOWN: u8 = uapi::SEND_SHUTDOWN.to_le_bytes()[0];

const SUITABLE: Candidate = Candidate {
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
    type Change = fn(&mut Candidate);
    assert_eq!(unsuitable(&SUITABLE), Reason::None);
    let cases: [(Change, Reason); 17] = [
        (
            |candidate| candidate.state = TCP_CLOSE_WAIT,
            Reason::Closing,
        ),
        (|candidate| candidate.shutdown = 1, Reason::Closing),
        (|candidate| candidate.rcvlowat = 2, Reason::Rcvlowat),
        (|candidate| candidate.signals = true, Reason::SignalDriven),
        (|candidate| candidate.peek_off = 0, Reason::PeekOffset),
        (|candidate| candidate.peek_off = 7, Reason::PeekOffset),
        (|candidate| candidate.zero_copy = true, Reason::ZeroCopy),
        (|candidate| candidate.timestamp = true, Reason::Timestamp),
        (|candidate| candidate.inq = true, Reason::Inq),
        (|candidate| candidate.filtered = true, Reason::Filtered),
        (|candidate| candidate.paced = true, Reason::Paced),
        (|candidate| candidate.mapped = true, Reason::Mapped),
        (|candidate| candidate.ulp = true, Reason::Ulp),
        (|candidate| candidate.mptcp = true, Reason::Mptcp),
        (|candidate| candidate.urgent = true, Reason::Urgent),
        (|candidate| candidate.charged = true, Reason::MemoryLimit),
        (|candidate| candidate.foreign = true, Reason::Foreign),
    ];
    for (change, reason) in cases {
        let mut candidate = SUITABLE;
        change(&mut candidate);
        assert_eq!(unsuitable(&candidate), reason);
    }
}

/// Both receive modes in which sockets are enrolled.
const RECEIVING: [ReceiveMode; 2] = [ReceiveMode::Unified, ReceiveMode::TxOnly];

const IDLE: Reading = Reading {
    has_file: true,
    nonblocking: true,
    reader_asleep: false,
    unread: Unread::NOTHING,
};

#[test]
fn only_a_nonblocking_reader_that_does_not_sleep_is_adopted() {
    let idle = IDLE;
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
    ];
    for mode in RECEIVING {
        assert_eq!(unadoptable(&idle, mode), Reason::None);
        for (reading, reason) in cases {
            assert_eq!(unadoptable(&reading, mode), reason);
        }
    }
}

#[test]
fn what_is_unread_comes_along_in_whole_packets_and_unified_mode() {
    let whole = Unread {
        bytes: 300,
        packets: 2,
        whole: true,
        in_call: false,
    };
    let reason = |unread, mode| unadoptable(&Reading { unread, ..IDLE }, mode);
    assert_eq!(reason(whole, ReceiveMode::Unified), Reason::None);
    assert_eq!(reason(whole, ReceiveMode::TxOnly), Reason::Unread);
    let cases = [
        // Half of the first packet was read.
        Unread {
            whole: false,
            ..whole
        },
        // The program is about to read it.
        Unread {
            in_call: true,
            ..whole
        },
        // The numbers and the queue do not tell the same.
        Unread {
            packets: 0,
            ..whole
        },
        Unread { bytes: 0, ..whole },
    ];
    for unread in cases {
        for mode in RECEIVING {
            assert_eq!(reason(unread, mode), Reason::Unread, "{unread:?}");
        }
    }
}

/// With nothing there, a call that begins gets what it would have got before.
#[test]
fn a_call_that_finds_nothing_keeps_nobody_off() {
    let unread = Unread {
        in_call: true,
        ..Unread::NOTHING
    };
    for mode in RECEIVING {
        assert_eq!(unadoptable(&Reading { unread, ..IDLE }, mode), Reason::None);
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

#[test]
#[expect(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the lower half of a count"
)]
fn counters_of_an_ended_socket_agree_with_its_stream() {
    let first = u32::MAX - 2;
    let of = |bytes: u64, messages, beside: u32| {
        let write_seq = first.wrapping_add(bytes as u32).wrapping_add(beside);
        sent(bytes, messages).is_of_ended(&sent(100, 3), first, write_seq)
    };
    // All that was counted, and more; with and without the end of the stream.
    assert!(of(100, 3, 0) && of(100, 3, 1));
    assert!(of(400, 5, 0) && of(400, 5, 1));
    // Bytes that were given to the stack and never sent.
    assert!(!of(400, 5, 2));
    // Another number in the place of one of them.
    assert!(!sent(400, 5).is_of_ended(&sent(100, 3), first, 0));
    assert!(!of(i64::MAX as u64, 5, 0));
    assert!(!of(400 + (1 << 32), 5, 0));
    assert!(!of(99, 3, 0));
    assert!(!of(400, 2, 0));
    assert!(!of(400, 0xffff_8881, 0));
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
