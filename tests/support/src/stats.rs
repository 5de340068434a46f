//! The middle of some measurements, and how sure it is.

use serde::Serialize;

/// The ratios of rounds: their median, and between which two of them the true one lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The middle one.
    pub median: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// The probability, from 0 to 1, that the true median is between the ends, however the rounds are distributed.
    pub confidence: f64,
}

/// The probability that an interval shall have, where there are rounds enough (six).
const WANTED: f64 = 0.95;

impl Interval {
    /// The narrowest pair of ends that is sure enough; the least and the greatest value where none is. `None` without
    /// values.
    ///
    /// Each round lies above the true median or below, as a coin falls. So the probability that fewer than `k` of them lie
    /// on one side is that of as many heads, and says between which two of the sorted values it lies.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = sorted.len();
        let sure = |outside: usize| 1.0 - 2.0 * at_most(count, outside);
        let outside = (0..count / 2)
            .rev()
            .find(|&outside| sure(outside) >= WANTED)
            .unwrap_or(0);
        Some(Self {
            median: median(sorted.iter().copied())?,
            lower: *sorted.get(outside)?,
            upper: *sorted.get(count - 1 - outside)?,
            confidence: sure(outside).max(0.0),
        })
    }
}

/// The probability of at most `heads` heads of so many coins.
fn at_most(coins: usize, heads: usize) -> f64 {
    let (mut sum, mut one) = (0.0, 0.5_f64.powi(i32::try_from(coins).unwrap_or(i32::MAX)));
    for number in 0..=heads.min(coins) {
        sum += one;
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let (left, next) = ((coins - number) as f64, (number + 1) as f64);
        one *= left / next;
    }
    sum
}

/// The middle value; the mean of the two middle ones of an even number.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_ignores_order_and_one_outlier() {
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 1000.0]), Some(3.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn ends_are_as_tables_of_the_sign_test_have_them() {
        // Six rounds: the extremes, 31/32. Twelve: the third from each end, 0.9614.
        let numbers = |count: u32| (1..=count).map(f64::from);
        let six = Interval::of(numbers(6)).expect("values");
        assert_eq!((six.lower, six.upper), (1.0, 6.0));
        assert!((six.confidence - 31.0 / 32.0).abs() < 1e-9);
        let twelve = Interval::of(numbers(12)).expect("values");
        assert_eq!((twelve.lower, twelve.upper), (3.0, 10.0));
        assert!((twelve.confidence - 0.9614).abs() < 1e-4);
    }

    #[test]
    fn few_rounds_have_ends_that_are_less_sure() {
        let two = Interval::of([1.2, 1.0]).expect("values");
        assert_eq!((two.lower, two.upper, two.confidence), (1.0, 1.2, 0.5));
        let one = Interval::of([1.0]).expect("a value");
        assert_eq!((one.lower, one.upper, one.confidence), (1.0, 1.0, 0.0));
        assert_eq!(Interval::of([]), None);
    }
}
