//! Support for the integration tests: the workload program whose bytes are
//! checked one by one, the runner that starts it plain or under
//! `socketvirt exec`, and the guards that clean up after both.
//!
//! The library is for tests, so it panics where a test would.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]
#![expect(
    clippy::must_use_candidate,
    reason = "many are called for what they assert"
)]

pub mod admin;
pub mod cgroup;
pub mod conform;
mod content;
pub mod drive;
pub mod exchanger;
mod gate;
pub mod hostile;
pub mod ids;
pub mod life;
pub mod live;
mod net;
pub mod netns;
mod place;
pub mod process;
pub mod programs;
pub mod run;
pub mod scans;
pub mod session;
pub mod summary;
pub mod table;
pub mod terminal;
pub mod workload;

/// Multiplies rounds and connections of a test by `SOCKETVIRT_TEST_SCALE`,
/// for runs longer than those of every change.
pub fn scaled(count: u32) -> u32 {
    let scale = std::env::var("SOCKETVIRT_TEST_SCALE")
        .ok()
        .and_then(|s| s.parse().ok());
    count.saturating_mul(scale.unwrap_or(1))
}
