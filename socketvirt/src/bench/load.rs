//! The share of the machine that others used while samples were taken: more
//! than a little, and the numbers are about that.

use std::time::Instant;

use procfs::{CurrentSI as _, KernelStats, ticks_per_second};

use super::{stats::float, wire::Sample};

/// Percent from which a table warns.
pub const TOO_MUCH: f64 = 5.0;

/// Sums over the samples of a run, in seconds of one processor.
#[derive(Debug)]
pub struct Load {
    cpus: u32,
    elapsed: f64,
    busy: f64,
    ours: f64,
}

impl Load {
    /// Of a machine with this many processors.
    pub fn new(cpus: usize) -> Self {
        Self {
            cpus: u32::try_from(cpus).unwrap_or(1),
            elapsed: 0.0,
            busy: 0.0,
            ours: 0.0,
        }
    }

    /// Takes one sample, and counts who worked meanwhile.
    pub fn during<E>(&mut self, take: impl FnOnce() -> Result<Sample, E>) -> Result<Sample, E> {
        let (start, before) = (Instant::now(), busy_seconds());
        let sample = take()?;
        if let (Some(before), Some(after)) = (before, busy_seconds()) {
            self.elapsed += start.elapsed().as_secs_f64();
            self.busy += after - before;
            self.ours += sample.cpu_us * float(sample.messages) / 1e6;
        }
        Ok(sample)
    }

    /// The share that others used, in percent of all processors.
    pub fn others_percent(&self) -> Option<f64> {
        let capacity = self.elapsed * f64::from(self.cpus);
        (capacity > 0.0).then(|| ((self.busy - self.ours) / capacity * 100.0).clamp(0.0, 100.0))
    }
}

/// Time that all processors were not idle, the hypervisor's share included.
fn busy_seconds() -> Option<f64> {
    let spent = KernelStats::current().ok()?.total;
    let others = [spent.irq, spent.softirq, spent.steal];
    let busy = spent.user + spent.nice + spent.system + others.iter().flatten().sum::<u64>();
    Some(float(busy) / float(ticks_per_second()))
}

#[cfg(test)]
mod tests {
    use procfs::Current as _;

    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        let cpus = std::thread::available_parallelism().unwrap().get();
        let up = procfs::Uptime::current().unwrap().uptime;
        let busy = busy_seconds().unwrap();
        assert!(
            busy > 0.0 && busy <= up * float(cpus as u64),
            "{busy} of {up}"
        );
    }

    #[test]
    fn without_a_sample_nothing_is_known() {
        assert_eq!(Load::new(2).others_percent(), None);
    }
}
