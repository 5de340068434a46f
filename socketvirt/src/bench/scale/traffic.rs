//! The pairs that the agent has to see: those that exchange messages, new ones, and such as come and go.

use std::{
    net::{Ipv4Addr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use super::{host::Host, pair::Pair};
use crate::bench::error::Error;

/// Between two turns.
const TICK: Duration = Duration::from_millis(1);

/// Turns in which each active pair has one: 20 exchanges a second.
const TURNS: usize = 50;

/// Between two new connections.
const BETWEEN: Duration = Duration::from_millis(50);

/// Connections that come and go in a second.
const CHURN: f64 = 1000.0;

/// The active pairs, in all namespaces.
pub struct Traffic {
    pairs: Vec<Pair>,
    /// True when the last exchange of each was redirected.
    fast: Vec<bool>,
    turn: usize,
}

/// The times that new connections were on the stack.
pub struct Adoptions {
    /// Of those that were adopted, in order.
    pub millis: Vec<f64>,
    /// Number of connections that were never adopted.
    pub missing: usize,
}

impl Traffic {
    /// Connects them.
    pub fn new(host: &Host, pairs: usize) -> Result<Self, Error> {
        let pairs = (0..pairs)
            .map(|index| host.inside(index, Pair::new))
            .collect::<Result<Vec<_>, _>>()?;
        let fast = vec![false; pairs.len()];
        Ok(Self {
            pairs,
            fast,
            turn: 0,
        })
    }

    /// The next turn: some of the pairs exchange messages.
    fn tick(&mut self) -> Result<(), Error> {
        let mut index = self.turn % TURNS;
        while let (Some(pair), Some(fast)) = (self.pairs.get_mut(index), self.fast.get_mut(index)) {
            *fast = pair.round()?;
            index += TURNS;
        }
        self.turn += 1;
        thread::sleep(TICK);
        Ok(())
    }

    /// Exchanges messages for some time.
    pub fn exchange(&mut self, time: Duration) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.tick()?;
        }
        Ok(())
    }

    /// Exchanges messages until nearly all pairs are adopted, or for as long as may be.
    pub fn until_adopted(&mut self, patience: Duration) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < patience && self.on_stack() * 50 > self.pairs.len() {
            self.tick()?;
        }
        Ok(())
    }

    fn on_stack(&self) -> usize {
        self.fast.iter().filter(|fast| !**fast).count()
    }

    /// Counts the adopted pairs. Each sends by the stack once a second, so the better of two turns counts.
    pub fn adopted(&mut self) -> Result<usize, Error> {
        let mut adopted = vec![false; self.pairs.len()];
        for _ in 0..2 {
            for (pair, adopted) in self.pairs.iter_mut().zip(&mut adopted) {
                *adopted |= pair.round()?;
            }
        }
        Ok(adopted.iter().filter(|one| **one).count())
    }

    /// Makes new connections beside the active pairs, each in another namespace, and sees when each is redirected.
    pub fn adoptions(
        &mut self,
        host: &Host,
        count: usize,
        patience: Duration,
    ) -> Result<Adoptions, Error> {
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        let mut millis = Vec::new();
        let (start, mut made) = (Instant::now(), 0);
        while made < count || !waiting.is_empty() {
            if start.elapsed() > patience {
                break;
            }
            let due = BETWEEN.saturating_mul(u32::try_from(made).unwrap_or(u32::MAX));
            if made < count && start.elapsed() >= due {
                waiting.push(host.inside(made, Pair::new)?);
                made += 1;
            }
            self.tick()?;
            let mut still = Vec::new();
            for mut pair in waiting {
                if pair.round()? {
                    millis.push(pair.age().as_secs_f64() * 1000.0);
                    // It stays, so that the agent has nothing else to do than to adopt.
                    done.push(pair);
                } else {
                    still.push(pair);
                }
            }
            waiting = still;
        }
        millis.sort_unstable_by(f64::total_cmp);
        Ok(Adoptions {
            millis,
            missing: waiting.len(),
        })
    }

    /// Lets connections come and go, in a namespace of their own, beside the pairs; returns how many.
    pub fn churn(&mut self, time: Duration) -> Result<u64, Error> {
        thread::scope(|scope| {
            let churning = scope.spawn(move || {
                Host::elsewhere(|| {
                    let listener =
                        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listen"))?;
                    let (start, mut made) = (Instant::now(), 0_u32);
                    while start.elapsed() < time {
                        Pair::to(&listener)?.round()?;
                        made += 1;
                        let due = Duration::from_secs_f64(f64::from(made) / CHURN);
                        thread::sleep(due.saturating_sub(start.elapsed()));
                    }
                    Ok(u64::from(made))
                })
            });
            self.exchange(time)?;
            churning
                .join()
                .unwrap_or_else(|_| Err(Error::Ended("the churn", String::new())))
        })
    }
}
