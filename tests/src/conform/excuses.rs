//! What the kernel does otherwise for an enrolled socket and no guard catches
//! yet: the one list. Each has to be seen in the fixed scenarios, in each of
//! its states; one that does not occur any more has to go.

use super::{
    compare::Difference,
    reach::State,
    step::{By, Call, End, Flag, Opt, Step},
};

/// A difference that is known.
pub struct Excuse {
    /// Its name.
    pub name: &'static str,
    /// The fixed scenario that shows it.
    pub witness: &'static str,
    /// Where it is seen.
    pub states: &'static [State],
    /// What the kernel does.
    pub fact: &'static str,
    /// Whether this explains a difference.
    applies: fn(&Seen) -> bool,
}

/// A difference, as far as it goes.
struct Seen<'a> {
    /// The calls up to the one that differs, with their ends.
    calls: Vec<(End, &'a Call)>,
    /// What plain TCP answered up to there.
    before: &'a [String],
    /// The line that differs, in the state.
    other: &'a str,
}

const ENROLLED: &[State] = &[State::Eager, State::Adopted];

/// All of them.
pub const EXCUSES: &[Excuse] = &[
    Excuse {
        name: "byte counters",
        witness: "byte counters",
        states: ENROLLED,
        fact: "TCP_INFO does not count redirected bytes",
        applies: |seen| matches!(seen.last(), Some(Call::Counters)),
    },
    Excuse {
        name: "urgent data",
        witness: "out of band",
        states: ENROLLED,
        fact: "a redirect makes MSG_OOB ordinary data; tcp_bpf_recvmsg ignores the flag",
        applies: |seen| seen.flag(Flag::Oob),
    },
    Excuse {
        name: "receive of nothing",
        witness: "empty receive of nothing",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg answers 0 to a length of 0, tcp_recvmsg waits for a byte",
        applies: |seen| matches!(seen.last(), Some(Call::Recv(0, ..))),
    },
    Excuse {
        name: "send of nothing",
        witness: "end read twice, then sends",
        states: ENROLLED,
        fact: "tcp_bpf_sendmsg looks at errors only when there is a byte to send; a socket whose end was read twice cannot leave",
        applies: |seen| {
            let read = |(end, call): &&(End, &Call)| {
                Some(*end) == seen.end() && matches!(call, Call::Recv(1.., ..) | Call::Drain)
            };
            let twice = seen.calls.iter().filter(read).count() > 1;
            twice && matches!(seen.last(), Some(Call::Send(0, ..)))
        },
    },
    Excuse {
        name: "MSG_TRUNC",
        witness: "MSG_TRUNC without a buffer",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg copies where tcp_recvmsg discards",
        applies: |seen| {
            let of = |flags: &[Flag]| flags.contains(&Flag::Trunc) || flags.contains(&Flag::Null);
            seen.any(|call| matches!(call, Call::Recv(_, _, flags) if of(flags)))
        },
    },
    Excuse {
        name: "MSG_WAITALL",
        witness: "blocking MSG_WAITALL",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg returns at the first bytes",
        applies: |seen| seen.flag(Flag::Waitall) && seen.blocked(),
    },
    Excuse {
        name: "woken without data",
        witness: "blocking receive interrupted",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg sleeps once: a signal, a shutdown, a reset, room to send end it with EAGAIN",
        applies: |seen| seen.blocked() && seen.other.contains("EAGAIN"),
    },
    Excuse {
        name: "splice out",
        witness: "splice out of",
        states: ENROLLED,
        fact: "splice(2) does not look at a psock's queue",
        applies: |seen| seen.any(|call| matches!(call, Call::Recv(_, By::Splice, _))),
    },
    Excuse {
        name: "SO_RCVLOWAT",
        witness: "SO_RCVLOWAT after",
        states: ENROLLED,
        fact: "a redirect ignores it, and stack bytes below it do not reach the psock",
        applies: |seen| seen.set(Opt::Rcvlowat),
    },
    Excuse {
        name: "SO_PEEK_OFF",
        witness: "SO_PEEK_OFF after",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg ignores it",
        applies: |seen| seen.set(Opt::Peekoff),
    },
    Excuse {
        name: "SO_TIMESTAMP",
        witness: "SO_TIMESTAMP after",
        states: ENROLLED,
        fact: "redirected bytes have no time stamp",
        applies: |seen| seen.set(Opt::Timestamp),
    },
    Excuse {
        name: "TCP_INQ",
        witness: "TCP_INQ after",
        states: ENROLLED,
        fact: "tcp_bpf_recvmsg does not report it",
        applies: |seen| seen.set(Opt::Inq),
    },
    Excuse {
        name: "SO_ZEROCOPY",
        witness: "SO_ZEROCOPY after",
        states: ENROLLED,
        fact: "a redirected MSG_ZEROCOPY send is copied, and its completion never comes",
        applies: |seen| seen.set(Opt::Zerocopy),
    },
    Excuse {
        name: "close with unread bytes",
        witness: "close with unread bytes",
        states: ENROLLED,
        fact: "tcp_close resets for bytes in sk_receive_queue only",
        applies: |seen| {
            let unread = |line: &String| line.contains("close -> done (unread");
            seen.before.iter().any(unread)
        },
    },
    Excuse {
        name: "error of a send",
        witness: "reset with bytes unread, then sends",
        states: ENROLLED,
        fact: "a send on an enrolled socket does not clear sk_err: send, receive, poll and SO_ERROR tell it again; one with bytes unread at the reset cannot leave",
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
