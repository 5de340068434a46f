//! Calls that had begun on a socket with unread bytes when it was enrolled. Each has
//! chosen already where it looks for the bytes, so they have to be there.
//!
//! - Early: a receive that chose its function before. It looks at the TCP receive queue
//!   alone, and answers `EAGAIN` when the psock has the bytes.
//! - Late: a receive that chose it afterwards. It holds the psock, and answers `EAGAIN`
//!   when the socket has left and the bytes lie in the TCP receive queue.
//! - Asking: ioctl(2), which holds nothing. When it chose late, `FIONREAD` counts what
//!   the psock has, and is 0 without one; when it chose early, it is right in any case.
//!
//! (K-ENROL-5 in `docs/kernel`.)

/// The calls on a socket with a psock, as a visit sees them under its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Calls that hold the file, of whatever kind: none of a program with one thread,
    /// which is in no more than one call.
    pub calls: u64,
    /// Those that held the psock before the others were counted.
    pub inside: u64,
    /// Those that wait for the socket's lock.
    pub waiting: Waiting,
    /// Those that held the psock after they were counted: some may have come meanwhile.
    pub inside_now: u64,
}

/// Calls that wait for the lock of a socket, by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// They ask how much is unread.
    pub asking: u32,
    /// They send: where the bytes are is nothing to them.
    pub sending: u32,
    /// Any others, which may receive.
    pub receiving: u32,
}

/// The place where each call that has begun finds the unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In the psock, which takes them.
    Psock,
    /// In the TCP receive queue of a plain socket: it leaves at once.
    Stack,
    /// Not known, or not the same for all: to be looked at again, as calls on their way
    /// arrive soon.
    Unclear,
}

/// Returns where the bytes have to be.
///
/// A receive that waits while another call asks decides for both: it would find nothing,
/// while the other one asks what is true as soon as all was read.
#[inline(always)]
#[must_use]
pub const fn place(begun: &Begun) -> Bytes {
    let waiting = &begun.waiting;
    let calls = if begun.calls == 0 {
        waiting.asking as u64 + waiting.sending as u64 + waiting.receiving as u64
    } else {
        begun.calls
    };
    let others = calls.saturating_sub(waiting.asking as u64);
    // A call that sends is inside as well, or is not.
    let harmless = if waiting.sending as u64 > begun.inside {
        waiting.sending as u64
    } else {
        begun.inside
    };
    if others <= harmless {
        Bytes::Psock
    } else if waiting.receiving != 0 && begun.inside_now == 0 {
        Bytes::Stack
    } else {
        Bytes::Unclear
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::call::Kind;

    /// The moment at which a call comes to the lock.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
    enum Arrival {
        Before,
        WhileCounted,
        Later,
    }

    /// A call: when it chose its function, and when it comes to the lock.
    #[derive(Clone, Copy, Debug)]
    struct Call {
        kind: Kind,
        late: bool,
        arrival: Arrival,
    }

    impl Call {
        const fn new(kind: Kind, late: bool) -> Self {
            Self {
                kind,
                late,
                arrival: Arrival::Before,
            }
        }

        /// Who chose late holds the psock before it waits; who asks never does.
        fn is_inside(self, by: Arrival) -> bool {
            self.late && self.arrival <= by && self.kind != Kind::Asks
        }
    }

    /// The only call of a program with a single thread, which holds no file.
    fn of_one_thread(call: Call) -> Begun {
        Begun {
            calls: 0,
            ..of(&[call])
        }
    }

    fn of(calls: &[Call]) -> Begun {
        let number =
            |chosen: &dyn Fn(Call) -> bool| calls.iter().filter(|call| chosen(**call)).count();
        let waiting = |kind| {
            let number =
                number(&|call: Call| call.arrival <= Arrival::WhileCounted && call.kind == kind);
            u32::try_from(number).expect("a few")
        };
        Begun {
            calls: calls.len() as u64,
            inside: number(&|call: Call| call.is_inside(Arrival::Before)) as u64,
            inside_now: number(&|call: Call| call.is_inside(Arrival::WhileCounted)) as u64,
            waiting: Waiting {
                asking: waiting(Kind::Asks),
                sending: waiting(Kind::Sends),
                receiving: waiting(Kind::Receives),
            },
        }
    }

    #[test]
    fn one_call_finds_its_bytes() {
        let is = |kind, late, expected| {
            let call = Call::new(kind, late);
            assert_eq!(place(&of(&[call])), expected);
            assert_eq!(place(&of_one_thread(call)), expected);
        };
        is(Kind::Receives, false, Bytes::Stack);
        is(Kind::Receives, true, Bytes::Psock);
        for late in [false, true] {
            is(Kind::Asks, late, Bytes::Psock);
            is(Kind::Sends, late, Bytes::Psock);
        }
        assert_eq!(place(&of(&[])), Bytes::Psock);
    }

    #[test]
    fn who_asks_may_wait_beside_one_that_sends() {
        for late in [false, true] {
            let calls = [Call::new(Kind::Asks, true), Call::new(Kind::Sends, late)];
            assert_eq!(place(&of(&calls)), Bytes::Psock);
        }
    }

    fn call() -> impl Strategy<Value = Call> {
        let kind = prop_oneof![Just(Kind::Asks), Just(Kind::Sends), Just(Kind::Receives)];
        let arrival = prop_oneof![
            Just(Arrival::Before),
            Just(Arrival::WhileCounted),
            Just(Arrival::Later)
        ];
        (kind, any::<bool>(), arrival).prop_map(|(kind, late, arrival)| Call {
            kind,
            late,
            arrival,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_receive_is_deceived(calls in proptest::collection::vec(call(), 0..6)) {
            let early = |call: &Call| call.kind == Kind::Receives && !call.late;
            match place(&of(&calls)) {
                Bytes::Psock => prop_assert!(!calls.iter().any(early)),
                Bytes::Stack => {
                    prop_assert!(!calls.iter().any(|call| call.is_inside(Arrival::WhileCounted)));
                    prop_assert!(calls.iter().any(|call| call.kind == Kind::Receives));
                }
                Bytes::Unclear => {}
            }
        }
    }
}
