//! A pair is enrolled when its traffic is worth it and nothing speaks against
//! either end; it stays while that holds.

use proptest::prelude::*;
use socketvirt_common::{
    reason::{REASONS, Reason},
    record::{
        config::FIRST_PAUSE,
        stats::{SLOTS, TIMES},
    },
    rule::{
        adoption::{
            self, Decision, LONGEST_WANT, MOST_VISITS, Next, Pair, Standing, UNSEEN_PAUSE, WARM,
            asked_at, goes_on, in_vain, is_warm, of_ends, of_traffic, passes, slot,
        },
        habit::is_habit,
        stay,
        worth::{BULK_PAUSE, Worth},
    },
};

const NOW: u64 = 1_000_000_000;

const WORTHY: Standing = Standing {
    worthy: true,
    not_before: NOW,
};

const READY: Pair = Pair {
    worth: Worth::Quiet,
    standing: WORTHY,
    now: NOW,
    off: false,
    id_taken: false,
};

type ChangePair = fn(&mut Pair);

#[test]
fn every_fact_alone_keeps_a_pair_from_being_asked() {
    assert_eq!(of_traffic(&READY), Next::Ask);
    let exchange = Pair {
        worth: Worth::Exchange,
        ..READY
    };
    assert_eq!(of_traffic(&exchange), Next::Ask);
    let cases: [(ChangePair, Next); 5] = [
        (|pair| pair.worth = Worth::Bulk, Next::Keep(Reason::Bulk)),
        (|pair| pair.standing.worthy = false, Next::Measure),
        (|pair| pair.now = NOW - 1, Next::Keep(Reason::NotWorth)),
        (|pair| pair.off = true, Next::Keep(Reason::Draining)),
        (|pair| pair.id_taken = true, Next::Keep(Reason::IdTaken)),
    ];
    for (change, next) in cases {
        let mut pair = READY;
        change(&mut pair);
        assert_eq!(of_traffic(&pair), next);
    }
}

fn worth() -> impl Strategy<Value = Worth> {
    prop_oneof![Just(Worth::Quiet), Just(Worth::Exchange), Just(Worth::Bulk)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// Looks at any times: the ends are asked only after an exchange that no bulk
    /// came after, and only once the pauses of both release and bulk are over.
    #[test]
    fn a_pair_is_asked_after_an_exchange_and_its_pauses(
        released_until in 0..2 * BULK_PAUSE,
        looks in prop::collection::vec((worth(), 0..BULK_PAUSE), 1..50),
    ) {
        let mut standing = Standing { worthy: false, not_before: released_until };
        let (mut now, mut exchanged, mut bulk_at) = (0, false, None);
        for (worth, pause) in looks {
            now += pause;
            match worth {
                Worth::Quiet => {}
                Worth::Exchange => exchanged = true,
                Worth::Bulk => {
                    exchanged = false;
                    bulk_at = Some(now);
                }
            }
            standing = standing.after(worth, now);
            let asked = of_traffic(&Pair { worth, standing, now, ..READY }) == Next::Ask;
            let rested = bulk_at.is_none_or(|at| now >= at + BULK_PAUSE);
            prop_assert_eq!(asked, exchanged && rested && now >= released_until);
        }
    }
}

#[test]
fn looks_go_on_for_a_while_without_traffic() {
    assert!(is_warm(WARM - 1));
    assert!(!is_warm(WARM));
}

/// Each answer of an end, and what was asked of it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent answer"
)]
struct Answers {
    habit: Reason,
    unsuitable: Reason,
    done: bool,
    unadoptable: Reason,
    users: Reason,
    proved: bool,
    blocking: bool,
    starved: bool,
    asked: Vec<&'static str>,
}

impl Answers {
    fn none() -> Self {
        Self {
            habit: Reason::None,
            unsuitable: Reason::None,
            done: true,
            unadoptable: Reason::None,
            users: Reason::None,
            proved: true,
            blocking: false,
            starved: false,
            asked: Vec::new(),
        }
    }

    fn of<T>(&mut self, question: &'static str, answer: T) -> T {
        self.asked.push(question);
        answer
    }
}

impl adoption::End for Answers {
    fn habit(&mut self) -> Reason {
        self.of("habit", self.habit)
    }
    fn unsuitable(&mut self) -> Reason {
        self.of("unsuitable", self.unsuitable)
    }
    fn is_done(&mut self) -> bool {
        self.of("done", self.done)
    }
    fn unadoptable(&mut self) -> Reason {
        self.of("unadoptable", self.unadoptable)
    }
    fn users(&mut self) -> Reason {
        self.of("users", self.users)
    }
    fn is_proved(&mut self) -> bool {
        self.of("proved", self.proved)
    }
}

impl stay::End for Answers {
    fn habit(&mut self) -> Reason {
        self.of("habit", self.habit)
    }
    fn is_blocking(&mut self) -> bool {
        self.of("blocking", self.blocking)
    }
    fn unsuitable(&mut self) -> Reason {
        self.of("unsuitable", self.unsuitable)
    }
    fn users(&mut self) -> Reason {
        self.of("users", self.users)
    }
    fn is_starved(&mut self) -> bool {
        self.of("starved", self.starved)
    }
}

type ChangeEnd = fn(&mut Answers);

/// The answers against an end that is not enrolled, in the order of the questions.
const AGAINST: [(&str, ChangeEnd, Reason); 6] = [
    ("habit", |end| end.habit = Reason::Splice, Reason::Splice),
    (
        "unsuitable",
        |end| end.unsuitable = Reason::Ulp,
        Reason::Ulp,
    ),
    ("done", |end| end.done = false, Reason::TooSoon),
    (
        "unadoptable",
        |end| end.unadoptable = Reason::Unread,
        Reason::Unread,
    ),
    (
        "users",
        |end| end.users = Reason::MaySplice,
        Reason::MaySplice,
    ),
    ("proved", |end| end.proved = false, Reason::PeerNotProved),
];

#[test]
fn an_end_is_ready_when_nothing_speaks_against_it() {
    let mut end = Answers::none();
    assert_eq!(adoption::against(&mut end), Reason::None);
    let all: Vec<_> = AGAINST.iter().map(|(question, ..)| *question).collect();
    assert_eq!(end.asked, all);
}

/// Dear questions come last, and the agent is not asked about a socket that stays
/// out in any case.
#[test]
fn the_first_answer_against_an_end_decides_and_ends_the_questions() {
    for (at, (question, _, reason)) in AGAINST.iter().enumerate() {
        let mut end = Answers::none();
        for (_, change, _) in &AGAINST[at..] {
            change(&mut end);
        }
        assert_eq!(adoption::against(&mut end), *reason);
        assert_eq!(end.asked.last(), Some(question));
    }
}

#[test]
fn both_ends_decide() {
    for reason in Reason::ALL {
        for in_vain in [false, true] {
            let decision = of_ends(reason, Reason::None, in_vain);
            assert_eq!(decision, of_ends(Reason::None, reason, in_vain));
            let expected = match (reason, in_vain) {
                (Reason::None | Reason::Unread, false) => Decision::Enrol,
                (Reason::None | Reason::Unread, true) => Decision::Pause,
                _ if passes(reason) => Decision::Wait,
                _ => Decision::Keep,
            };
            assert_eq!(decision, expected, "{reason:?}");
        }
        let worse = of_ends(reason, Reason::Ulp, false);
        assert_eq!(worse, Decision::Keep, "{reason:?}");
    }
}

/// A habit lasts, so no pair is looked at soon for one.
#[test]
fn some_reasons_pass_and_no_habit_does() {
    let passing: Vec<_> = Reason::ALL.into_iter().filter(|one| passes(*one)).collect();
    let expected = [
        Reason::None,
        Reason::ReaderAsleep,
        Reason::Unread,
        Reason::PeerNotProved,
        Reason::NotInspected,
        Reason::TooSoon,
    ];
    assert_eq!(passing, expected);
    assert!(passing.into_iter().all(|one| !is_habit(one)));
    assert!(Reason::ALL.len() == REASONS);
}

#[test]
fn visits_are_in_vain_when_they_are_many_and_long() {
    assert!(in_vain(MOST_VISITS + 1, LONGEST_WANT + 1));
    assert!(!in_vain(MOST_VISITS, LONGEST_WANT + 1));
    assert!(!in_vain(MOST_VISITS + 1, LONGEST_WANT));
    assert_eq!(UNSEEN_PAUSE, FIRST_PAUSE);
}

#[test]
fn a_visit_goes_on_while_the_pair_is_still_wanted() {
    assert!(goes_on(false, false, 1));
    assert!(!goes_on(true, false, 1));
    assert!(!goes_on(false, true, 1));
    assert!(!goes_on(false, false, 0));
}

/// The answers against an enrolled end, in the order of the questions.
const LEAVES: [(&str, ChangeEnd, Reason); 5] = [
    ("habit", |end| end.habit = Reason::Splice, Reason::Splice),
    ("blocking", |end| end.blocking = true, Reason::Blocking),
    (
        "unsuitable",
        |end| end.unsuitable = Reason::Rcvlowat,
        Reason::Rcvlowat,
    ),
    ("users", |end| end.users = Reason::Ring, Reason::Ring),
    ("starved", |end| end.starved = true, Reason::MemoryLimit),
];

#[test]
fn the_first_answer_against_an_enrolled_end_decides() {
    let mut end = Answers::none();
    assert_eq!(stay::against(&mut end, false), Reason::None);
    let all: Vec<_> = LEAVES.iter().map(|(question, ..)| *question).collect();
    assert_eq!(end.asked, all);
    for (at, (question, _, reason)) in LEAVES.iter().enumerate() {
        let mut end = Answers::none();
        for (_, change, _) in &LEAVES[at..] {
            change(&mut end);
        }
        assert_eq!(stay::against(&mut end, false), *reason);
        assert_eq!(end.asked.last(), Some(question));
    }
}

/// Nobody has read an eager end, and blocking mode is no reason to leave: it
/// could not.
#[test]
fn an_eager_end_may_be_blocking_and_its_users_are_not_asked() {
    let mut end = Answers {
        blocking: true,
        starved: true,
        users: Reason::Ring,
        ..Answers::none()
    };
    assert_eq!(stay::against(&mut end, true), Reason::None);
    assert!(!end.asked.contains(&"users"));
    end.blocking = false;
    assert_eq!(stay::against(&mut end, true), Reason::MemoryLimit);
}

#[test]
fn a_closing_end_stays_and_is_asked_on() {
    let mut end = Answers {
        unsuitable: Reason::Closing,
        ..Answers::none()
    };
    for eager in [false, true] {
        assert_eq!(stay::against(&mut end, eager), Reason::None);
    }
    end.starved = true;
    assert_eq!(stay::against(&mut end, false), Reason::MemoryLimit);
}

const STAYS: stay::Pair = stay::Pair {
    off: false,
    against: Reason::None,
    bulk: false,
    halved: false,
    waits: false,
    in_vain: false,
};

#[test]
fn a_pair_leaves_for_the_first_reason() {
    assert_eq!(stay::leave(&STAYS), Reason::None);
    let halved = stay::Pair {
        halved: true,
        in_vain: true,
        ..STAYS
    };
    let bulk = stay::Pair {
        bulk: true,
        ..halved
    };
    let against = stay::Pair {
        against: Reason::Ulp,
        ..bulk
    };
    let off = stay::Pair {
        off: true,
        ..against
    };
    let cases = [
        (halved, Reason::PeerNotEnrolled),
        (bulk, Reason::Bulk),
        (against, Reason::Ulp),
        (off, Reason::Draining),
    ];
    for (pair, reason) in cases {
        assert_eq!(stay::leave(&pair), reason);
    }
}

/// The other end may still be enrolled by the next visit.
#[test]
fn half_a_pair_stays_until_its_visits_were_in_vain() {
    let halved = stay::Pair {
        halved: true,
        in_vain: true,
        ..STAYS
    };
    for pair in [
        stay::Pair {
            waits: true,
            ..halved
        },
        stay::Pair {
            in_vain: false,
            ..halved
        },
        stay::Pair {
            halved: false,
            ..halved
        },
    ] {
        assert_eq!(stay::leave(&pair), Reason::None);
    }
}

#[test]
fn the_time_to_adoption_begins_with_the_first_of_the_looks_that_let_it_be() {
    for decision in [Decision::Enrol, Decision::Wait] {
        assert_eq!(asked_at(0, NOW, decision), NOW);
        assert_eq!(asked_at(7, NOW, decision), 7);
    }
    for decision in [Decision::Keep, Decision::Pause] {
        assert_eq!(asked_at(7, NOW, decision), 0);
    }
}

proptest! {
    #[test]
    fn a_time_is_counted_below_the_first_bound_that_it_does_not_pass(time in 0..2 * TIMES[SLOTS - 2]) {
        let slot = slot(time);
        prop_assert!(slot == SLOTS - 1 || time <= TIMES[slot]);
        prop_assert!(slot == 0 || time > TIMES[slot - 1]);
    }
}
