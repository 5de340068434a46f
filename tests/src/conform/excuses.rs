//! The known differences ([`socketvirt_common::difference`]) that the scenarios show,
//! where no guard catches them. Each has to be seen in the fixed scenarios, in each of
//! its states; one that does not occur any more has to go.

use socketvirt_common::difference::{Difference as Known, named};

use super::{
    compare::Difference,
    reach::State,
    step::{By, Call, End, Flag, Opt, Step},
};

/// A known difference, and how it shows.
pub struct Excuse {
    /// The difference, of the one list of them.
    pub difference: &'static Known,
    /// The fixed scenario that shows it.
    pub shown_by: &'static str,
    /// Where it is seen.
    pub states: &'static [State],
    /// True when this explains a difference.
    applies: fn(&Seen) -> bool,
}

/// A difference, as far as it goes.
struct Seen<'a> {
    /// The calls up to the one that differs, with their ends.
    calls: Vec<(End, &'a Call)>,
    /// The answers of plain TCP up to there.
    before: &'a [String],
    /// The line that differs, in the state.
    other: &'a str,
}

const ENROLLED: &[State] = &[State::Eager, State::Adopted];

/// All of them.
pub const EXCUSES: &[Excuse] = &[
    Excuse {
        difference: named("counters"),
        shown_by: "byte counters",
        states: ENROLLED,
        applies: |seen| matches!(seen.last(), Some(Call::Counters)),
    },
    Excuse {
        difference: named("oob"),
        shown_by: "out of band",
        states: ENROLLED,
        applies: |seen| seen.flag(Flag::Oob),
    },
    Excuse {
        difference: named("empty_receive"),
        shown_by: "empty receive of nothing",
        states: ENROLLED,
        applies: |seen| matches!(seen.last(), Some(Call::Recv(0, ..))),
    },
    Excuse {
        difference: named("empty_send"),
        shown_by: "end read twice, then sends",
        states: ENROLLED,
        applies: |seen| {
            let read = |(end, call): &&(End, &Call)| {
                Some(*end) == seen.end() && matches!(call, Call::Recv(1.., ..) | Call::Drain)
            };
            let twice = seen.calls.iter().filter(read).count() > 1;
            twice && matches!(seen.last(), Some(Call::Send(0, ..)))
        },
    },
    Excuse {
        difference: named("trunc_null"),
        shown_by: "MSG_TRUNC without a buffer",
        states: ENROLLED,
        applies: |seen| {
            let of = |flags: &[Flag]| flags.contains(&Flag::Trunc) || flags.contains(&Flag::Null);
            seen.any(|call| matches!(call, Call::Recv(_, _, flags) if of(flags)))
        },
    },
    Excuse {
        difference: named("waitall"),
        shown_by: "blocking MSG_WAITALL",
        states: ENROLLED,
        applies: |seen| seen.flag(Flag::Waitall) && seen.blocked(),
    },
    Excuse {
        difference: named("signal"),
        shown_by: "blocking receive interrupted",
        states: ENROLLED,
        applies: |seen| seen.blocked() && seen.other.contains("EAGAIN"),
    },
    Excuse {
        difference: named("splice"),
        shown_by: "splice out of",
        states: ENROLLED,
        applies: |seen| seen.any(|call| matches!(call, Call::Recv(_, By::Splice, _))),
    },
    Excuse {
        difference: named("rcvlowat"),
        shown_by: "SO_RCVLOWAT after",
        states: ENROLLED,
        applies: |seen| seen.set(Opt::Rcvlowat),
    },
    Excuse {
        difference: named("peek_offset"),
        shown_by: "SO_PEEK_OFF after",
        states: ENROLLED,
        applies: |seen| seen.set(Opt::Peekoff),
    },
    Excuse {
        difference: named("timestamp"),
        shown_by: "SO_TIMESTAMP after",
        states: ENROLLED,
        applies: |seen| seen.set(Opt::Timestamp),
    },
    Excuse {
        difference: named("tcp_inq"),
        shown_by: "TCP_INQ after",
        states: ENROLLED,
        applies: |seen| seen.set(Opt::Inq),
    },
    Excuse {
        difference: named("zero_copy"),
        shown_by: "SO_ZEROCOPY after",
        states: ENROLLED,
        applies: |seen| seen.set(Opt::Zerocopy),
    },
    Excuse {
        difference: named("close_unread"),
        shown_by: "close with unread bytes",
        states: ENROLLED,
        applies: |seen| {
            let unread = |line: &String| line.contains("close -> done (unread");
            seen.before.iter().any(unread)
        },
    },
    Excuse {
        difference: named("error_of_send"),
        shown_by: "reset with bytes unread, then sends",
        states: ENROLLED,
        applies: |seen| {
            let failed = |line: &String| line.contains("send") && line.contains("ECONNRESET");
            let told = seen.other.contains("ECONNRESET") || seen.other.contains("err");
            let read = matches!(seen.last(), Some(Call::Get(Opt::Error)));
            let sent = |(end, call): &(End, &Call)| {
                Some(*end) != seen.end() && matches!(call, Call::Send(1.., ..) | Call::Fill)
            };
            (told || read) && seen.before.iter().any(failed) && seen.calls.iter().any(sent)
        },
    },
];

impl Seen<'_> {
    fn any(&self, of: impl Fn(&Call) -> bool) -> bool {
        self.calls.iter().any(|(_, call)| of(call))
    }

    fn last(&self) -> Option<&Call> {
        self.calls.last().map(|(_, call)| *call)
    }

    fn end(&self) -> Option<End> {
        self.calls.last().map(|(end, _)| *end)
    }

    fn flag(&self, flag: Flag) -> bool {
        self.any(|call| match call {
            Call::Send(_, _, flags) | Call::Recv(_, _, flags) => flags.contains(&flag),
            _ => false,
        })
    }

    fn set(&self, opt: Opt) -> bool {
        self.any(|call| matches!(call, Call::Set(one, _) if *one == opt))
    }

    fn blocked(&self) -> bool {
        self.any(|call| matches!(call, Call::Block))
    }
}

/// The excuses that explain a difference.
pub fn of(difference: &Difference) -> impl Iterator<Item = &'static Excuse> {
    let at = difference.at();
    let line = |list: &'_ [String]| list.get(at).cloned().unwrap_or_default();
    let (plain, other) = (line(&difference.plain), line(&difference.other));
    // A call that returned late is told after the step that let it return.
    let number = |line: &String| line.split(':').next().and_then(|word| word.parse().ok());
    let before = &difference.plain[..at.min(difference.plain.len())];
    let last = before.iter().rev().find_map(number).unwrap_or(0);
    let reached: usize = number(&plain)
        .or(number(&other))
        .map_or(last, |step: usize| step.max(last));
    let calls = difference.scenario.steps.iter().take(reached + 1);
    let calls = calls.filter_map(|step| match step {
        Step::On(end, _, call) => Some((*end, call)),
        _ => None,
    });
    let seen = Seen {
        calls: calls.collect(),
        before,
        other: &other,
    };
    let state = difference.state;
    let found: Vec<_> = EXCUSES
        .iter()
        .filter(|one| one.states.contains(&state) && (one.applies)(&seen))
        .collect();
    found.into_iter()
}
