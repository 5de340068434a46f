//! Releasing a pair loses no message and fails no send, whenever the agent looks
//! and visits and however slow a sender is between its verdict and its queueing.

use proptest::prelude::*;
use socketvirt_common::{
    record::config::{Config, FIRST_PAUSE},
    rule::release::{Leaving, Past, may_leave, may_return, pause, quiet},
};

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
fn pauses_double_up_to_a_bound() {
    let pauses: Vec<_> = (0..8).map(|releases| pause(releases, 10)).collect();
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 160, 160]);
    assert!(pause(u32::MAX, FIRST_PAUSE).is_multiple_of(FIRST_PAUSE));
}

/// The work of an enrolment (`sk_psock_backlog`): which psock it takes a
/// reference of, and whether it puts one of the same.
#[derive(Clone, Copy, Debug)]
enum Backlog {
    /// It is scheduled, whatever is queued.
    Schedule,
    /// It has seen that its psock is in use.
    Begin,
    /// It takes a reference of its socket's psock.
    Take,
    /// It gives one of its own back.
    Give,
    /// The socket leaves.
    Leave,
    /// A grace period has passed, and the kernel wants to destroy what has left:
    /// it waits for the work.
    Destroy,
    /// A visit wants to enrol the socket again.
    Return,
}

/// Enrolments are numbered; counts of references are kept for each.
#[derive(Debug)]
struct Kernel {
    refs: Vec<i32>,
    /// The socket's enrolment.
    now: Option<usize>,
    destroyed: Vec<bool>,
    /// For each, where its work is: `None` is nowhere.
    work: Vec<Option<Stage>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Scheduled,
    Begun,
    Taken,
}

impl Kernel {
    fn new() -> Self {
        let mut kernel = Self {
            refs: vec![],
            now: None,
            destroyed: vec![],
            work: vec![],
        };
        kernel.enrol();
        kernel
    }

    fn enrol(&mut self) {
        self.now = Some(self.refs.len());
        self.refs.push(1);
        self.destroyed.push(false);
        self.work.push(None);
    }

    /// One step of any enrolment's work, or of the socket; false when a count is
    /// wrong.
    fn step(&mut self, step: Backlog, at: usize, may_return: fn(&Past) -> bool) -> bool {
        let at = at % self.refs.len();
        let current = self.now == Some(at);
        match (step, self.work[at]) {
            (Backlog::Schedule, None) if current => self.work[at] = Some(Stage::Scheduled),
            // It ends at once when its socket has left.
            (Backlog::Begin, Some(Stage::Scheduled)) => {
                self.work[at] = current.then_some(Stage::Begun);
            }
            (Backlog::Take, Some(Stage::Begun)) => {
                self.work[at] = self.now.map(|now| {
                    self.refs[now] += 1;
                    Stage::Taken
                });
            }
            (Backlog::Give, Some(Stage::Taken)) => {
                self.work[at] = None;
                self.refs[at] -= 1;
            }
            // As `may_leave` has it: with one reference alone.
            (Backlog::Leave, _) => {
                if let Some(now) = self.now.filter(|&now| self.refs[now] == 1) {
                    self.refs[now] = 0;
                    self.now = None;
                }
            }
            (Backlog::Destroy, None | Some(Stage::Scheduled)) if !current => {
                self.work[at] = None;
                self.destroyed[at] = true;
            }
            (Backlog::Return, _) if self.now.is_none() => {
                let past = Past {
                    psock_done: self.destroyed.last() == Some(&true),
                    releases: 1,
                    age: u64::MAX,
                    first_pause: FIRST_PAUSE,
                };
                if may_return(&past) {
                    self.enrol();
                }
            }
            _ => {}
        }
        self.refs.iter().all(|&refs| refs >= 0)
    }
}

fn backlog() -> impl Strategy<Value = (Backlog, usize)> {
    let step = prop_oneof![
        Just(Backlog::Schedule),
        Just(Backlog::Begin),
        Just(Backlog::Take),
        Just(Backlog::Give),
        Just(Backlog::Leave),
        Just(Backlog::Destroy),
        Just(Backlog::Return),
    ];
    (step, 0_usize..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_count_is_wrong_when_sockets_return(steps in prop::collection::vec(backlog(), 1..100)) {
        let mut kernel = Kernel::new();
        for (step, at) in steps {
            prop_assert!(kernel.step(step, at, may_return), "{kernel:?}");
        }
    }
}

/// No time is long enough, when a worker does not get on.
#[test]
fn a_pause_alone_is_not_enough() {
    let after_a_pause: fn(&Past) -> bool = |past| {
        may_return(&Past {
            psock_done: true,
            ..*past
        })
    };
    let steps = [
        Backlog::Schedule,
        Backlog::Begin,
        Backlog::Leave,
        Backlog::Return,
        Backlog::Take,
        Backlog::Give,
    ];
    let run = |rule| {
        let mut kernel = Kernel::new();
        steps.iter().all(|&step| kernel.step(step, 0, rule))
    };
    assert!(!run(after_a_pause));
    assert!(run(may_return));
}

/// However an agent sets its switches.
#[test]
fn switches_begin_with_a_pause() {
    assert_eq!(Config::default().first_pause, FIRST_PAUSE);
}

#[test]
fn a_socket_returns_after_its_pause() {
    let past = |releases, age| Past {
        psock_done: true,
        releases,
        age,
        first_pause: 100,
    };
    // Of an earlier connection.
    assert!(may_return(&past(0, 0)));
    assert!(!may_return(&past(1, 99)));
    assert!(may_return(&past(1, 100)));
    assert!(!may_return(&past(2, 199)));
    assert!(may_return(&past(2, 200)));
}
