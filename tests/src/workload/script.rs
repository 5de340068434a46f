//! The script of a connection: what its two ends say to each other, and when, built
//! from a list of [`Phases`].

use std::time::Duration;

use test_support::random::{Random, mix};

use super::phases::{Phase, Phases};
use crate::{content::HELLO, gate::Condition};

/// The pace at which a step reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As one message, read with a large buffer.
    Message,
    /// Random sizes up to 64 KiB.
    Random,
    /// The reader takes small pieces and pauses now and then.
    Slow,
    /// Blocks of 64 KiB and more.
    Bulk,
}

/// A step ends when everything up to `send_to` is sent and everything up to
/// `recv_to` is received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) send_to: u64,
    pub(crate) recv_to: u64,
    /// The time from the start of this step to its first byte.
    pub(crate) pause: Duration,
    pub(crate) pace: Pace,
}

/// The end of a connection, as both sides know it in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) client_first: bool,
    /// The first to end shuts down its sending side and reads on until the
    /// other has ended too; otherwise it closes.
    pub(crate) half_close: bool,
}

/// Steps that come again until a condition holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) until: Condition,
    /// True when this end decides.
    pub(crate) decides: bool,
    /// The first of the steps, and the one behind the last.
    pub(crate) first: usize,
    pub(crate) end: usize,
    /// Bytes that this end sends and receives in them.
    pub(crate) sends: u64,
    pub(crate) receives: u64,
}

/// Everything that one end does.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) repeats: Vec<Repeat>,
    pub(crate) ending: Ending,
}

struct Builder {
    client: Vec<Step>,
    server: Vec<Step>,
    up: u64,
    down: u64,
    /// Of the end that is built for.
    repeats: Vec<Repeat>,
}

impl Builder {
    fn both(&mut self, up: u64, down: u64, pace: Pace, pause: Duration) {
        self.up += up;
        self.down += down;
        self.client(pace, pause);
        self.server(pace);
    }

    fn client(&mut self, pace: Pace, pause: Duration) {
        self.client.push(Step {
            send_to: self.up,
            recv_to: self.down,
            pause,
            pace,
        });
    }

    fn server(&mut self, pace: Pace) {
        let (send_to, recv_to) = (self.down, self.up);
        self.server.push(Step {
            send_to,
            recv_to,
            pause: Duration::ZERO,
            pace,
        });
    }

    fn steps(&self, client: bool) -> usize {
        if client {
            self.client.len()
        } else {
            self.server.len()
        }
    }

    /// Lets what was added since `before` come again.
    fn repeat(
        &mut self,
        client: bool,
        until: Condition,
        phase: Phase,
        (first, up, down): (usize, u64, u64),
    ) {
        let (up, down) = (self.up - up, self.down - down);
        let (sends, receives) = if client { (up, down) } else { (down, up) };
        self.repeats.push(Repeat {
            until,
            decides: phase.client_first() == Some(client),
            first,
            end: self.steps(client),
            sends,
            receives,
        });
    }

    fn request(&mut self, up: u64, down: u64, reversed: bool, pause: Duration) {
        let pace = Pace::Message;
        if reversed {
            // The accepting side asks: it sends and waits, the client waits
            // first and answers then.
            self.down += down;
            let wait = Step {
                send_to: self.up,
                recv_to: self.down,
                pause: Duration::ZERO,
                pace,
            };
            self.client.push(wait);
            self.up += up;
            self.client(pace, Duration::ZERO);
            let (send_to, recv_to) = (self.down, self.up);
            self.server.push(Step {
                send_to,
                recv_to,
                pause,
                pace,
            });
        } else {
            self.up += up;
            self.server(pace);
            self.down += down;
            self.server(pace);
            self.client(pace, pause);
        }
    }
}

impl Script {
    /// The script of connection `index`, for the client or for the server.
    pub(crate) fn new(
        phases: &Phases,
        seed: u64,
        index: u32,
        server_first: bool,
        client: bool,
    ) -> Self {
        let mut rng = Random::new(mix(seed ^ 0x5c21) ^ u64::from(index));
        let mut build = Builder {
            client: Vec::new(),
            server: Vec::new(),
            up: 0,
            down: 0,
            repeats: Vec::new(),
        };
        // The first words travel alone, or together with the first message.
        let (up, down) = if server_first {
            (0, HELLO as u64)
        } else {
            (HELLO as u64, 0)
        };
        build.both(up, down, Pace::Message, Duration::ZERO);
        for (phase, until) in &phases.0 {
            let before = (build.steps(client), build.up, build.down);
            add(&mut build, *phase, &mut rng);
            if let Some(until) = until {
                build.repeat(client, *until, *phase, before);
            }
        }
        let ending = Ending {
            client_first: rng.once_in(2),
            half_close: rng.once_in(2),
        };
        let steps = if client { build.client } else { build.server };
        Self {
            steps,
            repeats: build.repeats,
            ending,
        }
    }

    /// Bytes that this end sends and receives in total, each phase once.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.steps.last().map_or((0, 0), |s| (s.send_to, s.recv_to))
    }
}

fn add(build: &mut Builder, phase: Phase, rng: &mut Random) {
    match phase {
        Phase::PingPong {
            rounds,
            max,
            rate,
            reversed,
        } => {
            let gap = 1_000_000u64
                .checked_div(u64::from(rate))
                .map_or(Duration::ZERO, Duration::from_micros);
            for _ in 0..rounds {
                let (up, down) = (rng.size(max) as u64, rng.size(max) as u64);
                build.request(up, down, reversed, gap);
            }
        }
        Phase::Pipelined { rounds, depth } => {
            for _ in 0..rounds {
                for _ in 0..depth {
                    build.up += rng.size(256) as u64;
                    build.server(Pace::Message);
                    build.down += rng.size(1024) as u64;
                    build.server(Pace::Message);
                }
                build.client(Pace::Message, Duration::ZERO);
            }
        }
        Phase::Stream { bytes } => {
            let mut part = || bytes / 2 + rng.below(bytes / 2 + 1);
            let (up, down) = (part(), part());
            let pace = if rng.once_in(2) {
                Pace::Slow
            } else {
                Pace::Random
            };
            build.both(up, down, pace, Duration::ZERO);
        }
        Phase::Bulk { bytes, up, slow } => {
            let pace = if slow { Pace::Slow } else { Pace::Bulk };
            let (up, down) = if up { (bytes, 0) } else { (0, bytes) };
            build.both(up, down, pace, Duration::ZERO);
        }
        Phase::Told { bytes } => {
            build.up += bytes;
            build.server(Pace::Bulk);
            build.down += 1;
            build.server(Pace::Bulk);
            build.client(Pace::Bulk, Duration::ZERO);
        }
        Phase::Idle { ms } => build.both(0, 0, Pace::Message, Duration::from_millis(u64::from(ms))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let phases: Phases =
            "pp:3x100@50,rpp:2,pipe:2x3,stream:1K,up:2M,told:1M,slowdown:3K,idle:5"
                .parse()
                .unwrap();
        for server_first in [false, true] {
            let client = Script::new(&phases, 1, 2, server_first, true);
            let server = Script::new(&phases, 1, 2, server_first, false);
            let (up, down) = client.totals();
            assert_eq!(server.totals(), (down, up));
            assert_eq!(client.ending, server.ending);
        }
        for wrong in ["pp:x", "zz:1", "pp:1!often", "stream:1K!fast", "faster"] {
            assert!(wrong.parse::<Phases>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_end_decides_what_comes_again() {
        let phases: Phases = "fast@50,rfast,slowup:1K!left,down:1K!go".parse().unwrap();
        assert_eq!(phases.conditions(), 4);
        let client = Script::new(&phases, 1, 2, false, true);
        let server = Script::new(&phases, 1, 2, false, false);
        let deciding = |script: &Script| script.repeats.iter().map(|one| one.decides).collect();
        let decides: Vec<bool> = deciding(&client);
        assert_eq!(decides, [true, false, true, false]);
        assert_eq!(deciding(&server), [false, true, false, true]);
        for (one, other) in client.repeats.iter().zip(&server.repeats) {
            assert_eq!((one.sends, one.receives), (other.receives, other.sends));
        }
    }
}
