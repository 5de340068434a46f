//! The numbers of each size, a line each.

use std::fmt;

use super::{Point, Size};

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespaces,
            idle,
            processes,
            pairs,
        } = self;
        write!(
            out,
            "{namespaces} namespaces, {idle} idle connections, {processes} processes, {pairs} pairs"
        )
    }
}

/// The head of the table.
pub const HEAD: &str = "namespaces    idle  processes  pairs | adopted p50    p99 (ms)  of     | \
                        agent: idle  steady  churn (% of a CPU) | bytes a pair";

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size {
            namespaces,
            idle,
            processes,
            pairs,
        } = self.size;
        let millis = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.0}"));
        let memory = self
            .bytes_per_pair
            .map_or("-".to_owned(), |n| n.to_string());
        let of = format!("{}/{}", self.adopted, self.adopted + self.not_adopted);
        writeln!(
            out,
            "{namespaces:>10} {idle:>7} {processes:>10} {pairs:>6} | {:>11} {:>6}       {of:<7} | {:>11.2} {:>7.2} {:>6.2}               | {memory:>12}",
            millis(self.adopted_p50_ms),
            millis(self.adopted_p99_ms),
            self.idle_cpu_percent,
            self.steady_cpu_percent,
            self.churn_cpu_percent,
        )
    }
}
