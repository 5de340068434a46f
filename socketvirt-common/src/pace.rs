//! Pace: scans take at most 1% of one CPU, looks at programs that begin a tenth.

use core::time::Duration;

/// The pause after a scan, as a multiple of the scan's own duration: 99 parts
/// of pause to one of work are 1% of one CPU.
pub const PAUSE_FACTOR: u32 = 99;

/// How long to wait after a scan that took `scan` of CPU time, when a scan is
/// wanted every `interval`.
#[must_use]
pub fn pause(scan: Duration, interval: Duration) -> Duration {
    let least = scan.saturating_mul(PAUSE_FACTOR);
    least.max(interval.saturating_sub(scan))
}

/// The longest pause that looks at programs may be in debt for before one is
/// made: some ten looks come at once, as they are needed.
const CREDIT: Duration = Duration::from_millis(20);

/// The pause after a look, as a multiple of its duration: a host on which
/// programs begin all the time spends a tenth of one CPU on them.
const LOOK_FACTOR: u32 = 9;

/// How long looks at programs have been at work lately. One that is needed now
/// and then comes at once, many on end are slowed down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    debt: Duration,
}

impl Looks {
    /// Some time has passed since the last look.
    pub fn rested(&mut self, time: Duration) {
        self.debt = self.debt.saturating_sub(time);
    }

    /// A look took this long: how long to wait before the next.
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
    fn a_look_now_and_then_is_not_held_up() {
        let mut looks = Looks::default();
        for _ in 0..100 {
            looks.rested(Duration::from_millis(2));
            assert!(looks.pause(Duration::from_micros(200)).is_zero());
        }
    }

    proptest! {
        /// Whatever looks take, and however long apart they are wanted.
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
