//! Pace: scans take at most 1% of one CPU.

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
