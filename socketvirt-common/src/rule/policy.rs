//! Policy: which rule decides about a connection, and what that means for its
//! pair.

pub use crate::record::policy::Action;
use crate::{
    reason::Reason,
    record::policy::{Set, WORDS},
};

impl Action {
    /// Returns what holds for a pair whose ends are under these two.
    #[inline(always)]
    #[must_use]
    pub const fn stricter(self, other: Self) -> Self {
        if self as u32 >= other as u32 {
            self
        } else {
            other
        }
    }

    /// True when a pair may be enrolled.
    #[inline(always)]
    #[must_use]
    pub const fn enrols(self) -> bool {
        matches!(self, Self::Eager | Self::Adopt)
    }

    /// Returns why an enrolled pair leaves; [`Reason::None`] when it may stay.
    #[inline(always)]
    #[must_use]
    pub const fn against(self) -> Reason {
        match self {
            Self::Off => Reason::PolicyOff,
            Self::Observe => Reason::Observed,
            // It stays as it is until that is known.
            Self::Eager | Self::Adopt | Self::Undecided => Reason::None,
        }
    }
}

impl Set {
    /// No rule.
    pub const EMPTY: Self = Self {
        summary: 0,
        words: [0; WORDS],
    };

    /// Adds a rule.
    pub const fn add(&mut self, rule: u32) {
        let word = rule as usize / 64 % WORDS;
        self.words[word] |= 1 << (rule % 64);
        self.summary |= 1 << word;
    }

    /// True when the rule is in it.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, rule: u32) -> bool {
        self.words[rule as usize / 64 % WORDS] >> (rule % 64) & 1 != 0
    }
}

/// Returns the number of the lowest bit that is 1; 63 for none.
#[inline(always)]
#[must_use]
pub const fn lowest(word: u64) -> u32 {
    // The BPF target has no instruction for it, and a loop could be long.
    let mut word = word;
    let mut at = 0;
    let mut width = 32;
    while width > 0 {
        if word & ((1 << width) - 1) == 0 {
            word >>= width;
            at += width;
        }
        width /= 2;
    }
    at
}

/// Returns a mark of what may change while a connection lives: the reader's
/// executable, and the user and group of the socket. Another mark means that the
/// rules are asked again.
#[inline(always)]
#[must_use]
pub const fn mark(inode: u64, uid: u32, gid: Option<u32>) -> u32 {
    let gid = match gid {
        Some(gid) => gid as u64 + 1,
        None => 0,
    };
    let mixed = inode
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(uid as u64)
        .wrapping_mul(0xff51_afd7_ed55_8ccd)
        .wrapping_add(gid)
        .wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Action; 5] = [
        Action::Eager,
        Action::Adopt,
        Action::Undecided,
        Action::Observe,
        Action::Off,
    ];

    #[test]
    fn a_pair_gets_the_stricter_of_its_ends() {
        for one in ALL {
            for other in ALL {
                assert_eq!(one.stricter(other), one.max(other));
            }
        }
        assert_eq!(Action::Adopt.stricter(Action::Eager), Action::Adopt);
        assert_eq!(Action::Observe.stricter(Action::Off), Action::Off);
    }

    /// What may not be enrolled leaves, but for what is not known yet.
    #[test]
    fn a_pair_leaves_when_the_policy_says_so() {
        for action in ALL {
            let leaves = !matches!(action.against(), Reason::None);
            assert_eq!(leaves, !action.enrols() && action != Action::Undecided);
        }
        assert_eq!(Action::Off.against(), Reason::PolicyOff);
        assert_eq!(Action::Observe.against(), Reason::Observed);
    }

    #[test]
    fn the_lowest_bit() {
        for bit in 0..64 {
            assert_eq!(lowest(1 << bit), bit);
            assert_eq!(lowest(u64::MAX << bit), bit);
        }
    }

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = Set::EMPTY;
        for rule in [0, 63, 64, 4_095] {
            assert!(!set.has(rule));
            set.add(rule);
            assert!(set.has(rule));
        }
        assert_eq!(set.summary, 1 | 2 | 1 << 63);
    }

    #[test]
    fn a_mark_tells_what_has_changed() {
        let one = mark(7, 0, Some(0));
        assert_ne!(one, mark(8, 0, Some(0)));
        assert_ne!(one, mark(7, 1, Some(0)));
        assert_ne!(one, mark(7, 0, None));
        assert_eq!(one, mark(7, 0, Some(0)));
    }
}
