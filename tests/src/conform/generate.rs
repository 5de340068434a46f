//! Random scenarios from a seed.
//!
//! Plain TCP has to answer the same each time, so a few things are left out:
//! two readers of one socket, and more unread bytes than every buffer holds.

use test_support::random::Random;

use super::step::{By, Call, End, Flag, Opt, Place, Scenario, Step, Watch, Way};

/// Unread bytes of one direction at most.
const UNREAD: usize = 24 << 10;

/// An end, as the generator knows it.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact of an end"
)]
struct Known {
    closed: bool,
    /// It has shut down sending.
    silent: bool,
    blocking: bool,
    /// A call of it may sleep.
    asleep: bool,
    /// It is poll(2), which looks the descriptor up again when it is woken.
    polls: bool,
    /// Bytes that may be there to be read.
    unread: usize,
    watched: bool,
}

struct Generator {
    rng: Random,
    /// True to use what is known to differ, too.
    wild: bool,
    ends: [Known; 2],
    steps: Vec<Step>,
}

/// The scenario of a seed.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Random::new(seed);
    let wild = rng.once_in(4);
    let mut generator = Generator {
        rng,
        wild,
        ends: [Known::default(); 2],
        steps: Vec::new(),
    };
    if generator.rng.once_in(2) {
        generator.push(End::B, Call::Connect(0));
        generator.push(End::A, Call::Accept);
        generator.steps.push(Step::Reach);
    }
    let length = 3 + generator.rng.below(14);
    for _ in 0..length {
        generator.step();
    }
    Scenario {
        steps: generator.steps,
    }
}

impl Generator {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.rng.below(of.len() as u64);
        of[usize::try_from(at).unwrap_or(0)]
    }

    fn push(&mut self, end: End, call: Call) {
        self.steps.push(Step::On(end, Place::Here, call));
    }

    fn step(&mut self) {
        let end = self.one(&[End::A, End::B]);
        let known = self.ends[end as usize];
        if known.closed {
            return;
        }
        match self.rng.below(100) {
            0..30 => self.send(end),
            30..60 => self.receive(end),
            60..78 => self.look(end),
            78..86 => self.change(end),
            86..92 => self.option(end),
            _ => self.end(end),
        }
    }

    fn send(&mut self, end: End) {
        let peer = end.other() as usize;
        let size = self.rng.size(UNREAD / 3);
        if self.ends[end as usize].asleep || self.ends[peer].unread + size > UNREAD {
            return;
        }
        let ways = [
            By::Plain,
            By::Plain,
            By::File,
            By::Msg,
            By::Vec,
            By::Mmsg,
            By::Sendfile,
            By::Splice,
        ];
        // write(2) to a connection that is broken raises SIGPIPE.
        let broken = self.ends[end as usize].silent || self.ends[peer].closed;
        let by = if broken { By::Plain } else { self.one(&ways) };
        let mut flags = Vec::new();
        if self.wild && matches!(by, By::Plain | By::Msg) && self.rng.once_in(4) {
            flags.push(self.one(&[Flag::More, Flag::Oob, Flag::Zerocopy]));
        }
        let place = if self.rng.once_in(12) {
            self.one(&[Place::Fork, Place::Handover])
        } else {
            Place::Here
        };
        let more = flags.contains(&Flag::More);
        self.steps
            .push(Step::On(end, place, Call::Send(size, by, flags)));
        if more {
            // Bytes held back go by themselves after 200 ms: not in time.
            self.push(end, Call::Send(size, By::Plain, Vec::new()));
            self.ends[peer].unread += size;
        }
        if !broken {
            self.ends[peer].unread += size;
            self.ends[peer].asleep = false;
        }
    }

    fn receive(&mut self, end: End) {
        let known = self.ends[end as usize];
        if known.asleep {
            return;
        }
        let size = self.rng.size(UNREAD);
        let ways = [By::Plain, By::Plain, By::File, By::Msg, By::Vec];
        let mut by = self.one(&ways);
        let mut flags = Vec::new();
        if self.rng.once_in(3) && matches!(by, By::Plain | By::Msg) {
            flags.push(self.one(&[Flag::Peek, Flag::Dontwait, Flag::Peek]));
        }
        if self.wild && self.rng.once_in(3) {
            by = self.one(&[By::Plain, By::Msg, By::Mmsg, By::Splice]);
            if matches!(by, By::Plain | By::Msg) {
                flags.push(self.one(&[Flag::Waitall, Flag::Trunc, Flag::Oob]));
            }
        }
        let sleeps = known.blocking && !flags.contains(&Flag::Dontwait);
        let peeks = flags.contains(&Flag::Peek);
        let call = if !sleeps && self.rng.once_in(6) {
            Call::Drain
        } else {
            Call::Recv(size, by, flags)
        };
        let known = &mut self.ends[end as usize];
        known.asleep = sleeps;
        known.polls = false;
        if call == Call::Drain {
            known.unread = 0;
        } else if !peeks && !sleeps {
            known.unread = known.unread.saturating_sub(size);
        }
        self.push(end, call);
    }

    fn look(&mut self, end: End) {
        let known = self.ends[end as usize];
        let call = match self.rng.below(12) {
            0..3 => Call::Poll,
            3 => Call::Select,
            4..6 => Call::Inq,
            6 => Call::Mark,
            7 => Call::Info,
            8 if known.unread == 0 && !known.asleep => {
                let known = &mut self.ends[end as usize];
                (known.asleep, known.polls) = (true, true);
                Call::Pollin
            }
            _ if known.watched => self
                .one(&[Call::Events, Call::Events, Call::Rearm].each_ref())
                .clone(),
            _ => {
                self.ends[end as usize].watched = true;
                Call::Watch(self.one(&[Watch::Level, Watch::Edge, Watch::EdgeOut, Watch::Oneshot]))
            }
        };
        self.push(end, call);
    }

    fn change(&mut self, end: End) {
        let known = self.ends[end as usize];
        let call = match self.rng.below(8) {
            // What finds its number free then takes it.
            0 | 1 if known.asleep && known.polls => return,
            // Its registration in epoll stays with the old descriptor.
            0 if !known.watched => Call::Dup,
            1 if !known.watched => Call::Pass,
            2..4 if self.wild && !known.blocking => {
                self.ends[end as usize].blocking = true;
                Call::Block
            }
            4 if known.blocking => {
                self.ends[end as usize].blocking = false;
                Call::Nonblock
            }
            5 if known.asleep => Call::Signal(self.rng.once_in(2)),
            _ => return,
        };
        self.push(end, call);
    }

    fn option(&mut self, end: End) {
        let mut choices = vec![
            (Opt::Keepalive, 1),
            (Opt::Quickack, 0),
            (Opt::Usertimeout, 9000),
            (Opt::Linger, -1),
            (Opt::Rcvbuf, 200_000),
            (Opt::Rcvlowat, 1),
        ];
        if self.wild {
            choices.extend([
                (Opt::Rcvlowat, 50),
                (Opt::Timestamp, 1),
                (Opt::Inq, 1),
                (Opt::Peekoff, 0),
                (Opt::Oobinline, 1),
            ]);
        }
        let (opt, value) = self.one(&choices);
        self.push(end, Call::Set(opt, value));
    }

    fn end(&mut self, end: End) {
        let peer = end.other() as usize;
        let known = self.ends[end as usize];
        if known.asleep {
            return;
        }
        // A close with unread bytes is known to differ.
        if known.unread > 0 && !self.wild {
            self.push(end, Call::Drain);
            self.ends[end as usize].unread = 0;
        }
        let call = match self.rng.below(6) {
            0..3 => Call::Shut(self.one(&[Way::Write, Way::Write, Way::Read, Way::Both])),
            3..5 => Call::Close,
            _ => Call::Reset,
        };
        let known = &mut self.ends[end as usize];
        match call {
            Call::Shut(Way::Read) => {}
            Call::Shut(_) => known.silent = true,
            _ => known.closed = true,
        }
        self.ends[peer].asleep = false;
        self.push(end, call);
    }
}
