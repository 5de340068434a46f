//! How much of the machine somebody else used while samples were taken: more
//! than a little, and the numbers are about that.

use std::{fs, time::Instant};

use nix::unistd::{SysconfVar, sysconf};

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

    /// What others used, in percent of all processors.
    pub fn others_percent(&self) -> Option<f64> {
        let capacity = self.elapsed * f64::from(self.cpus);
        (capacity > 0.0).then(|| ((self.busy - self.ours) / capacity * 100.0).clamp(0.0, 100.0))
    }
}

/// Time that all processors were not idle, the hypervisor's share included.
fn busy_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let rate = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(float(busy_ticks(stat.lines().next()?)) / float(rate))
}

/// `cpu user nice system idle iowait irq softirq steal ...`
fn busy_ticks(line: &str) -> u64 {
    let fields = line.split_whitespace().skip(1).take(8).enumerate();
    fields
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .filter_map(|(_, field)| field.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 2000 8 16 32 64 128"), 63);
    }

    #[test]
    fn without_a_sample_nothing_is_known() {
        assert_eq!(Load::new(2).others_percent(), None);
    }
}
