//! Numbers that look random and follow from a seed, so that a run can be repeated as far as time lets it.

use std::ops::RangeInclusive;

/// `SplitMix64`.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        let (first, last) = range.into_inner();
        let width = u64::from(last.saturating_sub(first)) + 1;
        // Below the width, which fits.
        first.saturating_add(u32::try_from(self.next() % width).unwrap_or(0))
    }

    pub fn once_in(&mut self, times: u32) -> bool {
        self.within(1..=times) == 1
    }

    /// One of several, all as likely.
    pub fn pick<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let index = self.within(0..=u32::try_from(others.len()).unwrap_or(0));
        usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_sub(1))
            .and_then(|index| others.get(index).copied())
            .unwrap_or(first)
    }
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
}
