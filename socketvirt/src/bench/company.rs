//! The company of a sample: what else of socketvirt is on the host meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    error::Error,
    plan::Variant,
    scale::{agent::Agent, home::Home, pair::Pair},
};
use crate::table::keeper::{Keeper, Options};

/// The longest wait for an adoption.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two exchanges of a pair that shall be adopted.
const SOON: Duration = Duration::from_millis(1);

/// Between two exchanges of one that is: its own work shall not show.
const SELDOM: Duration = Duration::from_millis(50);

/// Started for one sample alone, and taken away when it goes.
pub enum Company {
    /// Whatever the group has started.
    None,
    /// An agent that keeps the socket table.
    Table { _keeper: Keeper },
    /// An agent and a pair that it has adopted.
    Pair { _adopted: Adopted },
}

impl Company {
    /// Starts what the variant is measured beside.
    pub fn of(variant: Variant) -> Result<Self, Error> {
        Ok(match variant {
            Variant::Kept => Self::Table {
                _keeper: Keeper::start(&Options::default())?,
            },
            Variant::Bystander => Self::Pair {
                _adopted: Adopted::start()?,
            },
            _ => Self::None,
        })
    }
}

/// A pair that stays adopted, in a cgroup of its own.
pub struct Adopted {
    over: Arc<AtomicBool>,
    /// Exchanges messages until it is over.
    exchange: Option<JoinHandle<()>>,
    /// Ends before its cgroup does.
    _agent: Agent,
    _home: Home,
}

impl Adopted {
    fn start() -> Result<Self, Error> {
        let home = Home::make()?;
        // What the table costs is measured by itself.
        let agent = Agent::start(home.folder(), &["--no-table"])?;
        let inside = home.enter()?;
        let mut pair = Pair::new()?;
        while !pair.round()? {
            if pair.age() > PATIENCE {
                return Err(Error::NotAdopted(PATIENCE));
            }
            thread::sleep(SOON);
        }
        drop(inside);
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let exchange = thread::spawn(move || {
            // A pair that fails has been measured beside until then.
            while !ends.load(Ordering::Relaxed) && pair.round().is_ok() {
                thread::sleep(SELDOM);
            }
        });
        Ok(Self {
            over,
            exchange: Some(exchange),
            _agent: agent,
            _home: home,
        })
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(exchange) = self.exchange.take() {
            // It has no result.
            let _ = exchange.join();
        }
    }
}
