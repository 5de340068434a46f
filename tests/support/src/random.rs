//! Numbers and bytes that look random and follow from a seed, so that a run can be repeated.

use std::{fmt::Write as _, ops::RangeInclusive};

/// The step of `SplitMix64`: 2^64 by the golden ratio, odd.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number thoroughly (the finalizer of `SplitMix64`).
pub const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seeded generator: the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A number below `limit` (which must not be 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit)
    }

    /// A number of the range.
    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.0.u32(range)
    }

    /// True once in `times` calls (which must not be 0), on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several, all as likely.
    pub fn pick<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let index = self.0.usize(..=others.len());
        others.get(index).copied().unwrap_or(first)
    }

    /// A size in `1..=max`; each power of two is equally likely, so that single bytes are as common as large blocks.
    pub fn size(&mut self, max: usize) -> usize {
        let max = max.max(1) as u64;
        let bits = u64::from(64 - max.leading_zeros());
        let top = 1u64 << self.below(bits);
        let size = (top + self.below(top)).min(max);
        usize::try_from(size).unwrap_or(1)
    }
}

/// `size` bytes of text that differ from place to place, for files that are compared after a transfer.
pub fn numbered(size: usize) -> String {
    let mut text = String::with_capacity(size + 17);
    let mut number = 0_u64;
    while text.len() < size {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:016x}", number.wrapping_mul(GOLDEN));
        number += 1;
    }
    text.truncate(size);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_again_and_all_are_met() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let number = one.within(3..=6);
            assert_eq!(number, other.within(3..=6));
            seen.insert(number);
        }
        assert_eq!(seen, BTreeSet::from([3, 4, 5, 6]));
        let picked: BTreeSet<_> = (0..100).map(|_| one.pick("a", &["b", "c"])).collect();
        assert_eq!(picked, BTreeSet::from(["a", "b", "c"]));
    }

    #[test]
    fn sizes_stay_in_range() {
        let mut random = Random::new(3);
        for max in [1, 2, 3, 100, 65536] {
            assert!((0..1000).all(|_| (1..=max).contains(&random.size(max))));
        }
    }

    #[test]
    fn numbered_text_has_its_size_and_no_line_twice() {
        let text = numbered(1700);
        assert_eq!(text.len(), 1700);
        let lines: BTreeSet<_> = text.lines().collect();
        assert_eq!(lines.len(), 100);
    }
}
