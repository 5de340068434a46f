//! The summary of a run, for people and as JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
use socketvirt_common::{
    reason::Reason,
    record::{
        config::{Mode, ReceiveMode},
        stats::{Stats, TIMES},
    },
};

use super::effective::Effective;

/// The summary of a run. Its JSON form is an interface: fields are added, never
/// renamed or removed.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// When sockets were to be enrolled.
    pub mode: Mode,
    /// When they were enrolled.
    pub effective_mode: Mode,
    /// Why that is less than was asked for.
    pub degraded: Vec<Shortfall>,
    /// The receive mode of enrolled sockets.
    pub receive_mode: ReceiveMode,
    /// Connections whose two ends were found on this host.
    pub pairs: u64,
    /// Pairs enrolled, in mid-life or at the handshake.
    pub adopted: u64,
    /// Sockets, two a pair, that had bytes unread when they were enrolled in
    /// mid-life.
    pub adopted_unread: u64,
    /// The time that adoptions in mid-life took.
    pub adoption_time: Times,
    /// Pairs taken out of the SOCKHASH before they closed.
    pub released: u64,
    /// Programs whose vouch is void, because they have done what it denies.
    pub vouches_void: u64,
    /// Connections that were reset, because they were stuck by that.
    pub resets: u64,
    /// Payload bytes of all connections that begin in the cgroup.
    pub bytes: ByPath,
    /// Messages; of sockets that were not enrolled, data segments.
    pub messages: ByPath,
    /// Changes of path.
    pub switches: Switches,
    /// Sockets that ended without a redirected byte, by reason.
    pub left_on_stack: BTreeMap<&'static str, u64>,
    /// The failures, by kind. Each kind cost acceleration only.
    pub errors: BTreeMap<&'static str, u64>,
}

/// One reason why less was on than was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Shortfall {
    /// Its name; never changed.
    pub name: &'static str,
    /// What the operator was told.
    pub words: String,
}

/// The times that adoptions took: from when a pair was found worth it, and nothing
/// lasting spoke against it, until both ends were enrolled.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// Their sum, seconds.
    pub sum: f64,
    /// Pairs by their times, the shortest first.
    pub pairs: Vec<Slot>,
}

/// The pairs that took a time between two bounds.
#[derive(Clone, Debug, Serialize)]
pub struct Slot {
    /// The upper bound, seconds; the lower is that of the slot before. None for the last.
    pub at_most: Option<f64>,
    /// Number of pairs.
    pub pairs: u64,
}

impl Times {
    fn new(stats: &Stats) -> Self {
        let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
        let bounds = TIMES.iter().map(|&time| Some(seconds(time)));
        let slots = bounds.chain([None]).zip(stats.adoption_times);
        Self {
            sum: seconds(stats.adoption_time),
            pairs: slots
                .map(|(at_most, pairs)| Slot { at_most, pairs })
                .collect(),
        }
    }
}

/// A count for each path.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ByPath {
    /// Redirected.
    pub fast: u64,
    /// By the TCP/IP stack.
    pub stack: u64,
}

impl ByPath {
    /// The share of the fast path, from 0 to 1; 0 when there is nothing.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown with a few digits"
    )]
    pub fn share(self) -> f64 {
        match self.fast + self.stack {
            0 => 0.0,
            all => self.fast as f64 / all as f64,
        }
    }
}

/// Changes of path, both directions of all pairs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Switches {
    /// From the stack to the fast path.
    pub to_fast: u64,
    /// From the fast path to the stack.
    pub to_stack: u64,
}

impl Summary {
    /// Puts the counters into words.
    #[must_use]
    pub fn new(effective: &Effective, stats: &Stats) -> Self {
        let mut left = stats.left_on_stack;
        // Those that no scan has followed proved nothing either.
        left[Reason::TooShort as usize] +=
            (stats.connected + stats.accepted).saturating_sub(stats.followed);
        let left_on_stack = Reason::ALL
            .iter()
            .zip(left)
            .filter(|&(_, count)| count > 0)
            .map(|(reason, count)| (reason.word(), count))
            .collect();
        let errors = [
            ("pairs_full", stats.pairs_full),
            ("storage_full", stats.storage_full),
            ("enrol_busy", stats.enrol_busy),
            ("enrol_refused", stats.enrol_refused),
            ("redirect_missed", stats.redirect_missed),
            ("packets_lost", stats.packets_lost),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .collect();
        let degraded = effective.degraded.iter().map(|reason| Shortfall {
            name: reason.name(),
            words: reason.to_string(),
        });
        Self {
            mode: effective.asked,
            effective_mode: effective.mode,
            degraded: degraded.collect(),
            receive_mode: effective.receive_mode,
            pairs: stats.pairs,
            adopted: stats.adopted + stats.eager,
            adopted_unread: stats.adopted_unread,
            adoption_time: Times::new(stats),
            released: stats.released,
            vouches_void: stats.vouches_void,
            resets: stats.resets,
            bytes: ByPath {
                fast: stats.traffic.fast_bytes,
                stack: stats.traffic.stack_bytes,
            },
            messages: ByPath {
                fast: stats.traffic.fast_messages,
                stack: stats.traffic.stack_messages,
            },
            switches: Switches {
                to_fast: stats.traffic.to_fast,
                to_stack: stats.traffic.to_stack,
            },
            left_on_stack,
            errors,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socketvirt: mode {}", self.effective_mode.word())?;
        if self.effective_mode != self.mode {
            write!(f, " (asked for: {})", self.mode.word())?;
        }
        writeln!(f, ", receive mode {}", self.receive_mode.word())?;
        writeln!(
            f,
            "  pairs      {} seen, {} accelerated, {} released",
            self.pairs, self.adopted, self.released
        )?;
        writeln!(
            f,
            "  bytes      {} fast, {} stack ({:.1}% fast)",
            self.bytes.fast,
            self.bytes.stack,
            100.0 * self.bytes.share()
        )?;
        writeln!(
            f,
            "  messages   {} fast, {} stack ({:.1}% fast)",
            self.messages.fast,
            self.messages.stack,
            100.0 * self.messages.share()
        )?;
        writeln!(
            f,
            "  switches   {} to fast, {} to stack",
            self.switches.to_fast, self.switches.to_stack
        )?;
        if self.vouches_void + self.resets > 0 {
            writeln!(
                f,
                "  vouches    {} void, {} connections reset",
                self.vouches_void, self.resets
            )?;
        }
        write_counts(f, "left on the stack", &self.left_on_stack)?;
        write_counts(f, "errors", &self.errors)
    }
}

fn write_counts(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: &BTreeMap<&'static str, u64>,
) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    writeln!(f, "  {title}: {}", list.join(", "))
}
