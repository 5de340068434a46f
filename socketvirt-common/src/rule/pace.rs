//! Pace: the agent takes at most 1% of one CPU. Looks at programs that begin
//! take a tenth of one at most.

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

/// The longest pause that looks at programs may owe before one is made. Some
/// ten looks come at once, as they are needed.
const CREDIT: Duration = Duration::from_millis(20);

/// The pause after a look, as a multiple of its duration. A host on which
/// programs begin all the time spends a tenth of one CPU on them.
const LOOK_FACTOR: u32 = 9;

/// The recent work of looks at programs. A look that is needed now and then
/// comes at once; many on end are slowed down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    debt: Duration,
}

impl Looks {
    /// Notes that some time has passed since the last look.
    pub fn rested(&mut self, time: Duration) {
        self.debt = self.debt.saturating_sub(time);
    }

    /// Notes that a look took this long, and returns the time to wait before
    /// the next.
    #[must_use]
    pub fn pause(&mut self, look: Duration) -> Duration {
        self.debt = self.debt.saturating_add(look.saturating_mul(LOOK_FACTOR));
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
    fn a_look_now_and_then_is_not_held_up() {
        let mut looks = Looks::default();
        for _ in 0..100 {
            looks.rested(Duration::from_millis(2));
            assert!(looks.pause(Duration::from_micros(200)).is_zero());
        }
    }

    proptest! {
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

        /// Holds whatever looks take, and however long apart they are wanted.
        #[test]
        fn looks_take_a_tenth_of_the_time(wanted in proptest::collection::vec((0_u64..5_000, 0_u64..5_000), 1..200)) {
            let mut looks = Looks::default();
            let (mut busy, mut all) = (Duration::ZERO, Duration::ZERO);
            let mut pause = Duration::ZERO;
            for (idle, look) in wanted {
                let idle = Duration::from_micros(idle).max(pause);
                let look = Duration::from_micros(look);
                looks.rested(idle);
                pause = looks.pause(look);
                busy += look;
                all += idle + look;
            }
            prop_assert!(busy * 10 <= all + pause + CREDIT);
        }
    }
}
