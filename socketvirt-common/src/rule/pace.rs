//! Pace: the agent takes at most 1% of one CPU. Inspections of programs that
//! begin take a tenth of one at most.

use core::time::Duration;

/// The work of one agent: a token bucket of CPU time. It is saved while there
/// is nothing to do, and is there when there is much to do at once.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    credit: Duration,
    debt: Duration,
}

/// CPU time that is saved at most.
pub const BURST: Duration = Duration::from_millis(100);

/// One part in so many is for work: 1% of one CPU.
pub const SHARE: u32 = 100;

impl Default for Budget {
    fn default() -> Self {
        Self {
            credit: BURST,
            debt: Duration::ZERO,
        }
    }
}

impl Budget {
    /// Earns CPU time for the time that has passed.
    pub fn earn(&mut self, time: Duration) {
        let earned = time / SHARE;
        let left = earned.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(earned);
        self.credit = self.credit.saturating_add(left).min(BURST);
    }

    /// Spends the CPU time that work took.
    pub fn spend(&mut self, cost: Duration) {
        let over = cost.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(cost);
        self.debt = self.debt.saturating_add(over);
    }

    /// Returns the time to wait before the next work.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.debt.saturating_mul(SHARE)
    }
}

/// Returns the pause after work that took `cost` and is wanted every
/// `interval`: the work then takes 1% of one CPU at most.
#[must_use]
pub fn pause(cost: Duration, interval: Duration) -> Duration {
    let least = cost.saturating_mul(SHARE - 1);
    least.max(interval.saturating_sub(cost))
}

/// Returns the pause where nothing is known to have changed: the work then
/// takes 0.1% of one CPU.
#[must_use]
pub fn rest(cost: Duration, interval: Duration) -> Duration {
    let least = cost.saturating_mul(10 * SHARE - 1);
    least.max(interval.saturating_sub(cost))
}

/// The shortest time from one look at all pairs to the next.
pub const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// The longest time from one sweep to the next while nothing changes, or for the
/// sake of its cost, as long as it is that cheap.
pub const SWEEP_BOUND: Duration = Duration::from_secs(1);

/// One part in so many is for sweeps: 0.1% of one CPU...
const SWEEP_SHARE: u32 = 10 * SHARE;
/// ...or 0.25%, where they would come later than [`SWEEP_BOUND`].
const SWEEP_SHARE_MOST: u32 = 4 * SHARE;

/// Returns the time from one sweep to the next, after one that took `cost`. The
/// last `unchanged` sweeps have found what the one before had found: no pair has
/// come, gone or sent anything.
#[must_use]
pub fn sweep_every(cost: Duration, unchanged: u32) -> Duration {
    let rests = SWEEP_EVERY.saturating_mul(1 << unchanged.min(8));
    let share = cost.saturating_mul(SWEEP_SHARE);
    rests
        .max(share)
        .min(SWEEP_BOUND)
        .max(cost.saturating_mul(SWEEP_SHARE_MOST))
}

/// The longest pause that inspections may owe before one is made. Some ten
/// come at once, as they are needed.
const CREDIT: Duration = Duration::from_millis(20);

/// The pause after an inspection, as a multiple of its duration. A host on which
/// programs begin all the time spends a tenth of one CPU on them.
const INSPECTION_FACTOR: u32 = 9;

/// The recent work of inspections. One that is needed now and then comes at
/// once; many on end are slowed down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inspections {
    debt: Duration,
}

impl Inspections {
    /// Notes that some time has passed since the last inspection.
    pub fn rested(&mut self, time: Duration) {
        self.debt = self.debt.saturating_sub(time);
    }

    /// Notes that an inspection took this long, and returns the time to wait
    /// before the next.
    #[must_use]
    pub fn pause(&mut self, inspection: Duration) -> Duration {
        self.debt = self
            .debt
            .saturating_add(inspection.saturating_mul(INSPECTION_FACTOR));
        self.debt.saturating_sub(CREDIT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_saved_comes_at_once() {
        let mut budget = Budget::default();
        budget.spend(BURST);
        assert!(budget.wait().is_zero());
        budget.spend(Duration::from_millis(1));
        assert_eq!(budget.wait(), Duration::from_millis(100));
        budget.earn(Duration::from_millis(100));
        assert!(budget.wait().is_zero());
    }

    #[test]
    fn an_inspection_now_and_then_is_not_held_up() {
        let mut inspections = Inspections::default();
        for _ in 0..100 {
            inspections.rested(Duration::from_millis(2));
            assert!(inspections.pause(Duration::from_micros(200)).is_zero());
        }
    }

    proptest! {
        /// What has changed is seen within a second, unless sweeps would take more
        /// than 0.25% of one CPU. They take 0.1% where a second is enough for that.
        #[test]
        fn sweeps_are_cheap_and_not_late(cost in 0_u64..1_000_000, unchanged in 0_u32..100) {
            let cost = Duration::from_micros(cost);
            let every = sweep_every(cost, unchanged);
            prop_assert!(every >= SWEEP_EVERY);
            prop_assert!(every <= SWEEP_BOUND || every == cost * SWEEP_SHARE_MOST);
            prop_assert!(every >= cost * SWEEP_SHARE || every >= SWEEP_BOUND);
            prop_assert!(every >= sweep_every(cost, unchanged.saturating_sub(1)));
        }

        /// Holds whatever the work costs, and whenever it is wanted.
        #[test]
        fn work_takes_one_percent(wanted in proptest::collection::vec((0_u64..50_000, 0_u64..50_000), 1..200)) {
            let mut budget = Budget::default();
            let (mut busy, mut all) = (Duration::ZERO, Duration::ZERO);
            let mut most = Duration::ZERO;
            for (idle, cost) in wanted {
                let idle = Duration::from_micros(idle).max(budget.wait());
                let cost = Duration::from_micros(cost);
                budget.earn(idle);
                budget.spend(cost);
                busy += cost;
                all += idle;
                most = most.max(cost);
            }
            prop_assert!(busy <= all / SHARE + BURST + most + Duration::from_micros(10));
        }

        /// Holds whatever inspections take, and however long apart they are wanted.
        #[test]
        fn inspections_take_a_tenth_of_the_time(wanted in proptest::collection::vec((0_u64..5_000, 0_u64..5_000), 1..200)) {
            let mut inspections = Inspections::default();
            let (mut busy, mut all) = (Duration::ZERO, Duration::ZERO);
            let mut pause = Duration::ZERO;
            for (idle, inspection) in wanted {
                let idle = Duration::from_micros(idle).max(pause);
                let inspection = Duration::from_micros(inspection);
                inspections.rested(idle);
                pause = inspections.pause(inspection);
                busy += inspection;
                all += idle + inspection;
            }
            prop_assert!(busy * 10 <= all + pause + CREDIT);
        }
    }
}
