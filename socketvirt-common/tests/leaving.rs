//! Releasing a pair loses no message and fails no send, whenever the agent looks
//! and visits and however slow a sender is between its verdict and its queueing.

use proptest::prelude::*;
use socketvirt_common::release::{Leaving, may_leave, pause, quiet};

/// One step of a schedule; `usize` names the end, modulo 2.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A send begins: takes the psock and its verdict.
    Begin(usize),
    /// It queues at the peer, if it was to be redirected, and ends.
    End(usize),
    /// The program reads everything.
    Read(usize),
    /// A look stops both ends.
    Stop,
    /// A later look, which has no lock, finds ends in which no call is inside.
    Look,
    /// A visit under the lock.
    Visit(usize),
}

#[derive(Clone, Copy, Debug, Default)]
struct Socket {
    enrolled: bool,
    stopped: bool,
    quiet: bool,
    /// A send is inside: whether it will redirect.
    inside: Option<bool>,
    queue: u32,
}

/// Runs a schedule in which the pair is to leave; false when a message was
/// lost or a send failed.
fn run(steps: &[Step], rule: fn(&Leaving) -> bool) -> bool {
    let mut ends = [Socket {
        enrolled: true,
        ..Socket::default()
    }; 2];
    for &step in steps {
        match step {
            Step::Begin(end) => {
                let end = &mut ends[end % 2];
                if end.inside.is_none() {
                    end.inside = Some(end.enrolled && !end.stopped);
                }
            }
            Step::End(end) => {
                if ends[end % 2].inside.take() == Some(true) {
                    let peer = &mut ends[(end + 1) % 2];
                    if !peer.enrolled {
                        return false;
                    }
                    peer.queue += 1;
                }
            }
            Step::Read(end) => ends[end % 2].queue = 0,
            Step::Stop => ends.iter_mut().for_each(|end| end.stopped = true),
            Step::Look => {
                for end in &mut ends {
                    let psock_refs = 1 + u32::from(end.inside.is_some());
                    end.quiet |= quiet(end.stopped, psock_refs);
                }
            }
            Step::Visit(end) => {
                let peer = ends[(end + 1) % 2];
                let own = &mut ends[end % 2];
                if !own.enrolled {
                    continue;
                }
                let psock_refs = 1 + u32::from(own.inside.is_some());
                let leaving = Leaving {
                    stopped: own.stopped,
                    peer_quiet: !peer.enrolled || peer.quiet,
                    psock_refs,
                    queue_empty: own.queue == 0,
                    held_by_readers: false,
                    backlog_empty: true,
                };
                if rule(&leaving) {
                    if own.queue > 0 {
                        return false;
                    }
                    own.enrolled = false;
                }
            }
        }
    }
    true
}

fn step() -> impl Strategy<Value = Step> {
    (0_usize..2).prop_flat_map(|end| {
        prop_oneof![
            Just(Step::Begin(end)),
            Just(Step::End(end)),
            Just(Step::Read(end)),
            Just(Step::Visit(end)),
            Just(Step::Stop),
            Just(Step::Look),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn nothing_is_lost(steps in prop::collection::vec(step(), 1..100)) {
        prop_assert!(run(&steps, may_leave));
    }

    #[test]
    fn a_pair_at_rest_leaves(steps in prop::collection::vec(step(), 1..100)) {
        // Whatever happened before, a visit of each end at rest suffices.
        let rest = [0, 1].into_iter().flat_map(|end| [Step::End(end), Step::Read(end)]);
        let rest: Vec<_> = rest.clone().chain(rest).collect();
        let visits = [Step::Stop, Step::Look, Step::Visit(0), Step::Visit(1)];
        let all: Vec<_> = steps.iter().copied().chain(rest).chain(visits).collect();
        prop_assert!(run(&all, may_leave));
    }
}

/// Each condition is needed: without it some schedule loses a message.
#[test]
fn the_model_sees_a_missing_condition() {
    let without_peer: fn(&Leaving) -> bool = |leaving| {
        may_leave(&Leaving {
            peer_quiet: true,
            ..*leaving
        })
    };
    let caught_between = [
        Step::Begin(0),
        Step::Stop,
        Step::Look,
        Step::Visit(1),
        Step::End(0),
    ];
    assert!(!run(&caught_between, without_peer));
    assert!(run(&caught_between, may_leave));

    let without_queue: fn(&Leaving) -> bool = |leaving| {
        may_leave(&Leaving {
            queue_empty: true,
            ..*leaving
        })
    };
    let unread = [
        Step::Begin(0),
        Step::End(0),
        Step::Stop,
        Step::Look,
        Step::Visit(0),
        Step::Visit(1),
    ];
    assert!(!run(&unread, without_queue));
    assert!(run(&unread, may_leave));
}

#[test]
fn a_blocking_socket_stays() {
    let free = Leaving {
        stopped: true,
        peer_quiet: true,
        psock_refs: 1,
        queue_empty: true,
        held_by_readers: false,
        backlog_empty: true,
    };
    assert!(may_leave(&free));
    assert!(!may_leave(&Leaving {
        held_by_readers: true,
        ..free
    }));
}

#[test]
fn waiting_doubles_up_to_a_bound() {
    let milliseconds = |releases| pause(releases) / 1_000_000;
    let waits: Vec<_> = (1..8).map(milliseconds).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
}
