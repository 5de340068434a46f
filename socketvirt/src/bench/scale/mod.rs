//! The growth of the agent's cost and of the time to an adoption with the host: namespaces, idle connections, other
//! processes, active pairs.
//!
//! ```text
//! bench, in a cgroup of its own (home.rs)
//!   |-- processes in namespaces, idle connections: the host (host.rs)
//!   |-- socketvirt run --mode adopt --cgroup OWN: the agent (agent.rs)
//!   `-- active pairs, new connections, churn: the traffic (pair.rs, traffic.rs)
//! ```
//!
//! An adoption is seen as a program sees it: TCP's own counter stands still. No word of the agent is needed.

pub(super) mod agent;
mod figure;
pub(super) mod home;
mod host;
pub(super) mod pair;
mod print;
mod traffic;

use std::time::Duration;

use serde::Serialize;

use self::{agent::Agent, home::Home, host::Host, traffic::Traffic};
pub use self::{figure::draw, print::HEAD};
use super::error::Error;

/// The name for `--only`.
pub const SCALE: &str = "scale";

/// A size of the host.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Network namespaces with a process in each.
    pub namespaces: usize,
    /// Connections that nothing is sent on, both ends here.
    pub idle: usize,
    /// Processes that do nothing.
    pub processes: usize,
    /// Pairs that exchange messages all the time.
    pub pairs: usize,
}

const fn size(namespaces: usize, idle: usize, processes: usize, pairs: usize) -> Size {
    Size {
        namespaces,
        idle,
        processes,
        pairs,
    }
}

/// Each dimension by itself, and the sizes that the goals speak of.
const SIZES: [Size; 12] = [
    size(1, 0, 50, 1),
    size(10, 0, 50, 1),
    size(110, 0, 110, 1),
    size(1, 10_000, 50, 1),
    size(1, 100_000, 50, 1),
    size(1, 0, 500, 1),
    size(1, 0, 5_000, 1),
    size(1, 0, 50, 10),
    size(1, 0, 50, 100),
    size(1, 0, 50, 1_000),
    size(110, 10_000, 500, 1),
    size(110, 10_000, 500, 1_000),
];

/// The smallest, and those that the goals speak of.
const QUICK: [Size; 3] = [SIZES[0], SIZES[10], SIZES[11]];

/// The time of each part.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// A window in which the agent's CPU time is measured.
    window: Duration,
    /// New connections, one after another.
    new: usize,
    /// The longest wait for an adoption.
    patience: Duration,
}

const LONG: Times = Times {
    window: Duration::from_secs(5),
    new: 60,
    patience: Duration::from_secs(40),
};

const SHORT: Times = Times {
    window: Duration::from_secs(2),
    new: 20,
    patience: Duration::from_secs(10),
};

/// The measurements at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The size.
    #[serde(flatten)]
    pub size: Size,
    /// Milliseconds from the first message of a new connection to the first redirected one, of those that had one.
    pub adopted_p50_ms: Option<f64>,
    /// The 99th percentile of the same.
    pub adopted_p99_ms: Option<f64>,
    /// New connections that were adopted.
    pub adopted: usize,
    /// New connections that were not, for as long as was waited.
    pub not_adopted: usize,
    /// The longest wait, in seconds.
    pub patience: f64,
    /// Percent of one CPU that the agent used before there was any active pair, once it had seen the host.
    pub idle_cpu_percent: f64,
    /// The same while all pairs exchange messages, once they are adopted.
    pub steady_cpu_percent: f64,
    /// Of the active pairs, those that were adopted then.
    pub pairs_adopted: usize,
    /// The same while 1,000 connections a second come and go beside them.
    pub churn_cpu_percent: f64,
    /// Connections that came and went in a second then.
    pub churn_per_second: f64,
    /// Kernel memory of one adopted pair beyond that of its sockets; missing where there are too few pairs to tell.
    pub bytes_per_pair: Option<u64>,
}

/// The points measured, and those that this machine did not allow.
#[derive(Debug, Default)]
pub struct Measured {
    /// A point a size.
    pub points: Vec<Point>,
    /// Sizes without one, and why.
    pub failed: Vec<(Size, Error)>,
}

/// Measures all sizes.
///
/// # Errors
/// When no cgroup or no agent can be had at all.
pub fn measure(quick: bool, progress: &mut dyn FnMut(&str)) -> Result<Measured, Error> {
    let (sizes, times) = if quick {
        (&QUICK[..], SHORT)
    } else {
        (&SIZES[..], LONG)
    };
    let home = Home::make()?;
    let mut measured = Measured::default();
    for &size in sizes {
        progress(&format!("scale, {size}"));
        match point(&home, size, times) {
            Ok(point) => measured.points.push(point),
            Err(error) => measured.failed.push((size, error)),
        }
    }
    Ok(measured)
}

fn point(home: &Home, size: Size, times: Times) -> Result<Point, Error> {
    // Processes and idle connections are those of others.
    let host = Host::make(size)?;
    let _inside = home.enter()?;
    let without = home::kernel_memory();
    let mut traffic = Traffic::new(&host, size.pairs)?;
    traffic.exchange(times.window / 2)?;
    let sockets = home::kernel_memory();
    drop(traffic);

    let agent = Agent::start(home.folder(), &[])?;
    agent.settle()?;
    let idle = agent.cpu_percent(|| {
        std::thread::sleep(times.window);
        Ok(())
    })?;
    let before = home::kernel_memory();
    let mut traffic = Traffic::new(&host, size.pairs)?;
    traffic.until_adopted(times.patience)?;
    let with = home::kernel_memory();
    let adoptions = traffic.adoptions(&host, times.new, times.patience)?;
    let steady = agent.cpu_percent(|| traffic.exchange(times.window))?;
    let pairs_adopted = traffic.adopted()?;
    let mut churned = 0;
    let churn = agent.cpu_percent(|| {
        churned = traffic.churn(times.window)?;
        Ok(())
    })?;
    agent.end()?;
    let grown = (with - before) - (sockets - without);
    let bytes_per_pair = (pairs_adopted >= 100)
        .then(|| u64::try_from(grown).ok())
        .flatten()
        .map(|bytes| bytes / pairs_adopted as u64);
    let millis = |share| super::stats::percentile(&adoptions.millis, share);
    Ok(Point {
        size,
        adopted_p50_ms: millis(0.5),
        adopted_p99_ms: millis(0.99),
        adopted: adoptions.millis.len(),
        not_adopted: adoptions.missing,
        patience: times.patience.as_secs_f64(),
        idle_cpu_percent: idle,
        steady_cpu_percent: steady,
        pairs_adopted,
        churn_cpu_percent: churn,
        churn_per_second: super::stats::float(churned) / times.window.as_secs_f64(),
        bytes_per_pair,
    })
}
