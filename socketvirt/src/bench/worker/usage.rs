//! Processor time of a process.
//!
//! The kernel charges the softirq work of a loopback send to the process that
//! sends (unless it counts interrupt time apart, `CONFIG_IRQ_TIME_ACCOUNTING`),
//! so the sum of both ends is the cost of a message.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

use crate::bench::{error::Error, stats::float};

/// Microseconds of processor time that this process has used.
pub fn cpu_us() -> Result<f64, Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(Error::call("getrusage"))?;
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Ok(float(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}
