//! The decision about one message, a comparison at a time: each is met at its
//! edge, with all others the way they let the message pass.

use socketvirt_common::{
    reason::Reason,
    record::{
        flow::Path,
        pair::{End, Enrolment},
    },
    rule::{
        habit::{is_habit, of_receive},
        order,
        path::{self, CALM_SENDS, Decision, HEARTBEAT, Own, Peer, WORTHY_RUN, decide, may_send},
        pressure::{BULK_MESSAGE, LARGEST_MESSAGE, MESSAGE_OVERHEAD, fits, messages_queued},
        way::{self, QUEUE},
        worth::{MAX_EXCHANGE_BYTES, Sent, Worth, judge},
    },
    uapi::{self, TCP_CLOSE_WAIT, TCP_ESTABLISHED},
};

/// As a socket holds it, in one byte.
const SEND_SHUTDOWN: u8 = uapi::SEND_SHUTDOWN.to_le_bytes()[0];

const WRITE_SEQ: u32 = 7;

const OWN: Own = Own {
    state: TCP_ESTABLISHED,
    shutdown: 0,
    write_seq: WRITE_SEQ,
    path: Path::Stack,
    fast_write_seq: 0,
    since_empty: 0,
    calm: 0,
    size: 100,
    largest: BULK_MESSAGE,
    stack_age: 0,
};

/// As it is once the direction is fast.
const FAST: Own = Own {
    path: Path::Fast,
    fast_write_seq: WRITE_SEQ,
    ..OWN
};

const PEER: Peer = Peer {
    shutdown: 0,
    copied_seq: WRITE_SEQ,
    queued: 0,
    limit: 1 << 24,
};

/// It has not consumed everything.
const BEHIND: Peer = Peer {
    copied_seq: WRITE_SEQ - 1,
    ..PEER
};

#[test]
fn a_drained_direction_redirects() {
    assert_eq!(decide(&OWN, &PEER), Decision::Redirect);
    for copied_seq in [WRITE_SEQ - 1, WRITE_SEQ + 1] {
        let peer = Peer { copied_seq, ..PEER };
        assert_eq!(decide(&OWN, &peer), Decision::Stack(Reason::NotDrained));
    }
}

/// Its `copied_seq` is not looked at, as nothing was given to the stack.
#[test]
fn a_fast_direction_stays_fast_while_the_stack_gets_nothing() {
    assert_eq!(decide(&FAST, &BEHIND), Decision::Redirect);
    for own in [
        Own {
            fast_write_seq: WRITE_SEQ - 1,
            ..FAST
        },
        Own {
            path: Path::Stack,
            ..FAST
        },
        Own {
            path: Path::Kept,
            ..FAST
        },
    ] {
        assert_eq!(decide(&own, &BEHIND), Decision::Stack(Reason::NotDrained));
    }
}

#[test]
fn a_direction_that_ends_is_for_the_stack() {
    for own in [OWN, FAST] {
        for (state, shutdown, peer_shutdown) in [
            (TCP_CLOSE_WAIT + 1, 0, 0),
            (TCP_ESTABLISHED, SEND_SHUTDOWN, 0),
            (TCP_ESTABLISHED, 0, 1),
            (TCP_ESTABLISHED, 0, SEND_SHUTDOWN),
        ] {
            let own = Own {
                state,
                shutdown,
                ..own
            };
            let peer = Peer {
                shutdown: peer_shutdown,
                ..PEER
            };
            assert_eq!(decide(&own, &peer), Decision::Stack(Reason::Closing));
        }
    }
    let half_closed = Own {
        state: TCP_CLOSE_WAIT,
        ..OWN
    };
    assert_eq!(decide(&half_closed, &PEER), Decision::Redirect);
}

#[test]
fn only_what_the_stack_would_take_may_be_sent() {
    for state in 0..=13 {
        let open = state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
        for shutdown in 0..4 {
            let sending = shutdown & SEND_SHUTDOWN == 0;
            assert_eq!(may_send(state, shutdown), open && sending);
        }
    }
}

#[test]
fn bulk_is_for_the_stack() {
    assert_eq!(BULK_MESSAGE, 65_536);
    for own in [OWN, FAST] {
        let sized = |size| decide(&Own { size, ..own }, &PEER);
        assert_eq!(sized(BULK_MESSAGE), Decision::Redirect);
        assert_eq!(sized(BULK_MESSAGE + 1), Decision::Stack(Reason::Bulk));
        assert_eq!(sized(u32::MAX), Decision::Stack(Reason::Bulk));
        let largest = LARGEST_MESSAGE;
        let sized = |size| {
            decide(
                &Own {
                    size,
                    largest,
                    ..own
                },
                &PEER,
            )
        };
        assert_eq!(sized(LARGEST_MESSAGE), Decision::Redirect);
        assert_eq!(sized(LARGEST_MESSAGE + 1), Decision::Stack(Reason::Bulk));
    }
}

/// A program's own buffer is the limit on any way, and so is the kernel's on loopback.
#[test]
fn the_way_sets_the_limits() {
    let limits = |one, other, unified| way::limits(way::between(one, other), unified);
    for unified in [false, true] {
        let loopback = limits(7, 7, unified);
        assert_eq!((loopback.largest, loopback.queue), (BULK_MESSAGE, 0));
        assert_eq!(way::room(loopback.queue, 100, false), 100);
    }
    let far = limits(7, 8, true);
    assert_eq!((far.largest, far.queue), (LARGEST_MESSAGE, QUEUE));
    assert_eq!(way::room(far.queue, 100, false), QUEUE);
    assert_eq!(way::room(far.queue, 32 << 20, false), QUEUE);
    assert_eq!(way::room(far.queue, 100, true), 100);
    // Bytes of the stack wait in a queue of their own there.
    assert_eq!(limits(7, 8, false).queue, 0);
}

/// Between namespaces a full queue calms a direction only when it was hardly fast.
#[test]
fn a_short_run_is_calmed_on_any_way() {
    for run in 0..100 {
        assert_eq!(path::calm(0, run), CALM_SENDS);
        let worthy = run >= WORTHY_RUN;
        assert_eq!(path::calm(QUEUE, run), if worthy { 0 } else { CALM_SENDS });
    }
}

#[test]
fn a_full_queue_is_for_the_stack() {
    for own in [OWN, FAST] {
        let own = Own {
            since_empty: 3,
            ..own
        };
        let room = |queued, limit| {
            let peer = Peer {
                queued,
                limit,
                ..PEER
            };
            decide(&own, &peer)
        };
        // Three that may wait and this one.
        let limit = 50 + own.size + 4 * MESSAGE_OVERHEAD;
        assert_eq!(room(50, limit), Decision::Redirect);
        assert_eq!(room(51, limit), Decision::Stack(Reason::QueueFull));
        assert_eq!(room(50, limit - 1), Decision::Stack(Reason::QueueFull));
        // In an empty queue none waits.
        assert_eq!(room(0, own.size + MESSAGE_OVERHEAD), Decision::Redirect);
    }
}

#[test]
fn room_is_for_payload_and_overhead_of_each_message() {
    assert!(fits(10, 2, 5, 15 + 3 * MESSAGE_OVERHEAD));
    assert!(!fits(10, 2, 5, 14 + 3 * MESSAGE_OVERHEAD));
    // No sum wraps around.
    assert!(!fits(u32::MAX, u32::MAX, u32::MAX, u32::MAX));
    assert_eq!(messages_queued(0, 9), 0);
    assert_eq!(messages_queued(1, 9), 9);
}

#[test]
fn calm_is_for_directions_that_are_drained_and_not_fast() {
    let calm = |own| Own { calm: 1, ..own };
    assert_eq!(decide(&calm(OWN), &PEER), Decision::Calm);
    assert_eq!(decide(&calm(FAST), &PEER), Decision::Redirect);
    assert_eq!(
        decide(&calm(OWN), &BEHIND),
        Decision::Stack(Reason::NotDrained)
    );
}

/// Also on the first message after a pause, and never in place of a stricter
/// decision.
#[test]
fn the_stack_hears_of_a_direction_once_a_second() {
    assert_eq!(HEARTBEAT, 1_000_000_000);
    let aged = |own, stack_age, peer| decide(&Own { stack_age, ..own }, peer);
    for own in [OWN, FAST] {
        assert_eq!(aged(own, HEARTBEAT - 1, &PEER), Decision::Redirect);
        assert_eq!(aged(own, HEARTBEAT, &PEER), Decision::Heartbeat);
        assert_eq!(aged(own, u64::MAX, &PEER), Decision::Heartbeat);
    }
    let calm = Own { calm: 1, ..OWN };
    assert_eq!(aged(calm, HEARTBEAT, &PEER), Decision::Calm);
    let behind = aged(OWN, HEARTBEAT, &BEHIND);
    assert_eq!(behind, Decision::Stack(Reason::NotDrained));
    // Fast, with earlier messages unread: order is kept all the same.
    assert_eq!(aged(FAST, HEARTBEAT, &BEHIND), Decision::Heartbeat);
}

#[test]
fn a_receiver_has_proved_itself_by_one_byte() {
    assert!(!order::receiver_proved(5, 5));
    assert!(order::receiver_proved(6, 5));
    // Sequence numbers wrap.
    assert!(order::receiver_proved(0, u32::MAX));
}

#[test]
fn an_end_is_known_by_its_cookie() {
    assert!(!End::default().is_known());
    let end = End {
        cookie: 1,
        ..End::default()
    };
    assert!(end.is_known());
}

#[test]
fn only_the_enrolled_that_stay_redirect() {
    for (enrolment, active) in [
        (Enrolment::None, false),
        (Enrolment::Adopted, true),
        (Enrolment::Eager, true),
        (Enrolment::Leaving, false),
    ] {
        assert_eq!(enrolment.is_active(), active, "{enrolment:?}");
    }
}

#[test]
fn what_a_program_shows_is_a_habit() {
    for reason in [
        Reason::Blocking,
        Reason::Rcvlowat,
        Reason::ZeroCopy,
        Reason::Timestamp,
        Reason::Ulp,
        Reason::Urgent,
        Reason::PeekOffset,
        Reason::Inq,
        Reason::Splice,
        Reason::SignalDriven,
        Reason::WaitAll,
        Reason::ClosedUnread,
        Reason::Filtered,
        Reason::Paced,
        Reason::Mapped,
        // As the flags of a receive call tell: MSG_OOB, MSG_WAITALL.
        of_receive(0x1),
        of_receive(0x100),
    ] {
        assert!(is_habit(reason), "{reason:?}");
    }
}

fn sent(bytes: u64, messages: u32) -> Sent {
    Sent { bytes, messages }
}

/// An exchange needs both ends, so the one that sent less decides.
#[test]
fn exchanges_are_counted_by_the_quieter_end() {
    assert_eq!(MAX_EXCHANGE_BYTES, 98_304);
    let most = 2 * MAX_EXCHANGE_BYTES;
    for (one, other, worth) in [
        (sent(10, 1), sent(10, 9), Worth::Quiet),
        (sent(10, 2), sent(10, 9), Worth::Exchange),
        (sent(most, 1), sent(0, 9), Worth::Quiet),
        (sent(most + 1, 1), sent(0, 9), Worth::Bulk),
    ] {
        assert_eq!(judge(&one, &other), worth);
        assert_eq!(judge(&other, &one), worth);
    }
}
