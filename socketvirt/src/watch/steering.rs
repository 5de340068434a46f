//! Steering: what others ask of the watching thread, and what it shows them.
//!
//! The thread alone writes the switches and runs the tiers. Others leave a wish
//! and wake it; it answers, and publishes what it saw when it looked last.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use socketvirt_common::record::{flow::Traffic, watch::Tiers as Shared};

/// What the thread saw when it looked last. Everything that counts only grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Bytes, messages and switches, as of the last sweep: those of live sockets are
    /// among them.
    pub traffic: Traffic,
    /// Pairs that are watched.
    pub pairs: u32,
    /// Pairs of which an end is enrolled, as of the last sweep.
    pub enrolled: u32,
    /// CPU time of the rounds.
    pub time: Duration,
    /// The part of it that locked visits took.
    pub act_time: Duration,
    /// Rounds: each looks at least at what is hot.
    pub rounds: u64,
    /// Sweeps, which look at everything.
    pub sweeps: u64,
}

impl Seen {
    /// Takes in a sweep: `counted` were among the counters before it, and `live`
    /// sockets had sent this beside.
    ///
    /// A socket that ends while the sweep goes on may be in neither until the next
    /// one. So the sum is never too large, and does not go back.
    pub fn sweep(&mut self, mut counted: Traffic, live: &Traffic, enrolled: u32) {
        counted.add(live);
        self.traffic = most(&self.traffic, &counted);
        self.enrolled = enrolled;
        self.sweeps += 1;
    }
}

/// Returns the greater of both, counter by counter.
#[must_use]
pub fn most(one: &Traffic, other: &Traffic) -> Traffic {
    Traffic {
        fast_bytes: one.fast_bytes.max(other.fast_bytes),
        fast_messages: one.fast_messages.max(other.fast_messages),
        stack_bytes: one.stack_bytes.max(other.stack_bytes),
        stack_messages: one.stack_messages.max(other.stack_messages),
        to_fast: one.to_fast.max(other.to_fast),
        to_stack: one.to_stack.max(other.to_stack),
    }
}

/// A handle on the thread, for itself and for others.
#[derive(Clone, Debug)]
pub struct Steering(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Wakes the thread.
    wake: EventFd,
    /// Pausing is wished.
    wished: AtomicBool,
    /// It is in force.
    paused: AtomicBool,
    /// Wakings that the thread has answered.
    beats: AtomicU64,
    seen: Mutex<Seen>,
}

impl Steering {
    /// Makes one for a thread that is not paused.
    ///
    /// # Errors
    /// When the kernel has no descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(Inner {
            wake: EventFd::from_flags(flags)?,
            wished: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            beats: AtomicU64::new(0),
            seen: Mutex::default(),
        })))
    }

    /// Asks the thread to enrol nothing any more and to release what is enrolled,
    /// or to go on.
    pub fn pause(&self, on: bool) {
        self.0.wished.store(on, Ordering::Release);
        self.wake();
    }

    /// True while a pause is in force.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Acquire)
    }

    /// True until the last wish is in force.
    #[must_use]
    pub fn has_wish(&self) -> bool {
        self.wish() != self.is_paused()
    }

    /// Wakes the thread, which then [beats](Self::beats).
    pub fn wake(&self) {
        // A counter that is full wakes it all the same.
        let _ = self.0.wake.write(1);
    }

    /// Wakings that the thread has answered: a thread that makes progress answers
    /// each one soon.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Acquire)
    }

    /// What the thread saw when it looked last.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a waking.
    pub(crate) fn answer(&self) {
        // It may have been answered already.
        let _ = self.0.wake.read();
        self.0.beats.fetch_add(1, Ordering::AcqRel);
    }

    /// Publishes what the thread has seen.
    pub(super) fn publish(&self, seen: &Seen, shared: &Shared) {
        let seen = Seen {
            pairs: shared.pairs,
            ..*seen
        };
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// The last wish: true for a pause.
    pub(super) fn wish(&self) -> bool {
        self.0.wished.load(Ordering::Acquire)
    }

    /// Says that a pause is in force, or is not.
    pub(super) fn fulfilled(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Release);
    }
}

impl AsFd for Steering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fast(bytes: u64) -> Traffic {
        Traffic {
            fast_bytes: bytes,
            ..Traffic::default()
        }
    }

    #[test]
    fn a_waking_is_answered_once() {
        let steering = Steering::new().unwrap();
        steering.wake();
        steering.wake();
        assert_eq!(steering.beats(), 0);
        steering.answer();
        assert_eq!(steering.beats(), 1);
        // A late answer waits for nothing.
        steering.answer();
    }

    #[test]
    fn a_wish_is_open_until_it_is_in_force() {
        let steering = Steering::new().unwrap();
        assert!(!steering.has_wish());
        steering.pause(true);
        assert!(steering.has_wish() && !steering.is_paused());
        steering.fulfilled(steering.wish());
        assert!(!steering.has_wish() && steering.is_paused());
        // Taken back before it came into force.
        steering.pause(false);
        steering.pause(true);
        assert!(!steering.has_wish());
    }

    proptest! {
        /// Sockets send, and end, at any moment of a sweep: what is published never
        /// goes back, and is never more than what was sent.
        #[test]
        fn published_traffic_only_grows(
            rounds in proptest::collection::vec((0_u64..1000, any::<bool>(), any::<bool>()), 1..50),
        ) {
            let mut seen = Seen::default();
            let (mut counted, mut live, mut sent) = (0, 0, 0);
            for (bytes, ends_before, ends_meanwhile) in rounds {
                live += bytes;
                sent += bytes;
                if ends_before {
                    counted += live;
                    live = 0;
                }
                let before = counted;
                if ends_meanwhile {
                    counted += live;
                    live = 0;
                }
                let last = seen.traffic.fast_bytes;
                seen.sweep(fast(before), &fast(live), 0);
                prop_assert!(seen.traffic.fast_bytes >= last);
                prop_assert!(seen.traffic.fast_bytes <= sent);
            }
            seen.sweep(fast(counted), &fast(live), 0);
            prop_assert_eq!(seen.traffic.fast_bytes, sent);
        }
    }
}
