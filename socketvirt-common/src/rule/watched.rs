//! Whether an agent watches the data path.
//!
//! An enrolled socket may be used in a way that a redirect does not have. Some of that
//! no event tells: an option that is set, memory that becomes short. A sweep finds it
//! within a second. Without an agent nobody does, so nothing is redirected then, and no
//! handshake enrols. Sockets that are enrolled stay so: what is in their queues is
//! read as always.

/// The time, in nanoseconds, for which an agent may be silent. It beats once a second.
pub const GRACE: u64 = 5_000_000_000;

/// The tick until which an agent that watches `now` may be silent. Ticks are of `tick`
/// nanoseconds.
#[inline(always)]
#[must_use]
pub const fn until(now: u64, tick: u64) -> u64 {
    // A panic has no place in a program of the kernel.
    match GRACE.checked_div(tick) {
        Some(ticks) => now + ticks,
        None => now,
    }
}

/// True when an agent watches, which has said so `until` a tick. A data path that nobody
/// has watched yet, such as that of the self-test, needs nobody.
#[inline(always)]
#[must_use]
pub const fn is_watched(until: u64, now: u64) -> bool {
    until == 0 || now < until
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 250 ticks a second.
    const TICK: u64 = 4_000_000;

    #[test]
    fn silence_is_borne_for_a_while() {
        let end = until(1000, TICK);
        assert!(is_watched(end, 1000));
        // Its beat came on another CPU, a moment after the clock was read.
        assert!(is_watched(end, 999));
        assert!(is_watched(end, 1000 + 1249));
        assert!(!is_watched(end, 1000 + 1250));
        assert!(!is_watched(until(1, TICK), u64::MAX / TICK));
    }

    #[test]
    fn what_was_never_watched_needs_nobody() {
        assert!(is_watched(0, 10_000));
    }
}
