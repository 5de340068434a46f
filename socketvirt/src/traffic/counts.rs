//! The counters of a socket, and their difference.

use std::ops::AddAssign;

use serde::Serialize;

/// Bytes and messages that were sent, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes by redirect.
    pub fast_bytes: u64,
    /// Messages by redirect.
    pub fast_messages: u64,
    /// Bytes by the stack.
    pub stack_bytes: u64,
    /// Messages by the stack; of a socket that is not enrolled, data segments.
    pub stack_messages: u64,
}

impl Counts {
    /// Returns what has been counted since `before`. A counter that went back has begun
    /// anew, and counts from 0.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let of = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            fast_bytes: of(self.fast_bytes, before.fast_bytes),
            fast_messages: of(self.fast_messages, before.fast_messages),
            stack_bytes: of(self.stack_bytes, before.stack_bytes),
            stack_messages: of(self.stack_messages, before.stack_messages),
        }
    }

    /// [`Counts::since`] where agents have come or gone, whose counters are not the same
    /// ones: the bytes of the stack are the socket's own, and all that can be compared.
    #[must_use]
    pub fn of_the_stack_since(self, before: Self) -> Self {
        Self {
            stack_bytes: self.stack_bytes.saturating_sub(before.stack_bytes),
            ..Self::default()
        }
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.fast_bytes.saturating_add(self.stack_bytes)
    }

    /// All messages.
    #[must_use]
    pub fn messages(self) -> u64 {
        self.fast_messages.saturating_add(self.stack_messages)
    }

    /// The share of the bytes that was redirected, from 0 to 1; none of no bytes.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        match self.bytes() {
            0 => None,
            all => Some(float(self.fast_bytes) / float(all)),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.fast_bytes, other.fast_bytes),
            (&mut self.fast_messages, other.fast_messages),
            (&mut self.stack_bytes, other.stack_bytes),
            (&mut self.stack_messages, other.stack_messages),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// A count, for a share or a rate.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "shares and rates are shown with a few digits"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(fast: u64, stack: u64) -> Counts {
        Counts {
            fast_bytes: fast,
            fast_messages: fast / 10,
            stack_bytes: stack,
            stack_messages: stack / 10,
        }
    }

    #[test]
    fn a_counter_that_went_back_counts_from_zero() {
        assert_eq!(counts(500, 90).since(counts(200, 50)), counts(300, 40));
        assert_eq!(counts(30, 90).since(counts(200, 50)), counts(30, 40));
        assert_eq!(counts(0, 0).since(counts(200, 50)), counts(0, 0));
    }

    #[test]
    fn across_agents_only_bytes_of_the_stack_are_compared() {
        let now = counts(1 << 40, 90);
        let since = now.of_the_stack_since(counts(0, 50));
        assert_eq!((since.bytes(), since.messages()), (40, 0));
        // Another agent may leave out what was sent again.
        assert_eq!(now.of_the_stack_since(counts(0, 91)).bytes(), 0);
    }

    #[test]
    fn a_share_of_nothing_is_none_and_sums_do_not_overflow() {
        assert_eq!(counts(0, 0).share(), None);
        assert_eq!(counts(30, 10).share(), Some(0.75));
        let mut most = counts(u64::MAX, u64::MAX);
        most += most;
        assert_eq!(most.bytes(), u64::MAX);
        assert!(most.share().is_some_and(f64::is_finite));
    }
}
