//! The report for people: one line a redis command, then one line a fact.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Report, Row};
use crate::{demo::summary::Summary, progress::Style};

impl Report {
    pub fn text(&self, style: Style) -> String {
        let mut lines = vec![
            String::new(),
            style.bold(&heading()),
            style.bold(&columns()),
        ];
        lines.extend(self.rows().iter().map(|row| line(row, style)));
        lines.push(String::from(
            "(medians; redis-benchmark counts latencies in steps of 8 us)",
        ));
        lines.push(String::new());
        lines.extend(self.paths(style));
        lines.extend(self.proofs(style));
        lines.push(String::new());
        lines.join("\n")
    }

    /// What `socketvirt exec` says of the accelerated runs, added up.
    fn paths(&self, style: Style) -> [String; 5] {
        let Summary {
            mode,
            receive_mode,
            pairs,
            adopted,
            released,
            bytes,
            messages,
            switches,
            left_on_stack,
            errors,
        } = &self.summary;
        let share = format!("{:.1}%", bytes.fast_share() * 100.0);
        let share = if bytes.fast > 0 {
            style.green(&share)
        } else {
            style.red(&share)
        };
        [
            format!(
                "fast path     {share} of the bytes ({} of {}), {} of {} messages",
                bytes.fast,
                bytes.fast + bytes.stack,
                messages.fast,
                messages.fast + messages.stack
            ),
            format!(
                "pairs         {pairs} seen, {adopted} adopted, {released} released; mode {mode}, receive mode {receive_mode}"
            ),
            format!(
                "switches      {} to fast, {} to stack",
                switches.to_fast, switches.to_stack
            ),
            format!("left on stack {}", counts(left_on_stack)),
            format!("errors        {}", counts(errors)),
        ]
    }

    /// What the demo checked by itself.
    fn proofs(&self, style: Style) -> [String; 2] {
        let data = self.data();
        let right = if self.data_is_right() {
            style.green("right")
        } else {
            style.red("WRONG")
        };
        let leftovers = &self.leftovers;
        let left = if leftovers.found.is_empty() {
            style.green("nothing")
        } else {
            style.red(&leftovers.found.join("; "))
        };
        [
            format!(
                "data          {right}: {} values read back, {} wrong; {} increments, counted {}",
                data.values, data.wrong_values, data.increments, data.counter
            ),
            format!("left behind   {left} ({})", leftovers.searched),
        ]
    }
}

/// The groups of columns.
fn heading() -> String {
    format!(
        "{:8}{:>27}{:>27}{:>27}",
        "redis", "p50 latency (us)", "p99 latency (us)", "requests/s"
    )
}

fn columns() -> String {
    let group = format!("{:>10}{:>10}{:>7}", "plain", "accel.", "ratio");
    format!("{:8}{group}{group}{group}", "")
}

fn line(row: &Row<'_>, style: Style) -> String {
    let Row {
        command,
        plain,
        accelerated,
        p50_ratio,
        p99_ratio,
        rate_ratio,
    } = row;
    let mut line = format!("{command:8}");
    let mut group = |plain: f64, accelerated: f64, ratio: f64, better: bool| {
        let ratio = format!("{ratio:>6.2}x");
        let ratio = if better { style.green(&ratio) } else { ratio };
        // Writing to a string cannot fail.
        let _ = write!(line, "{plain:>10.0}{accelerated:>10.0}{ratio}");
    };
    group(
        plain.p50_us,
        accelerated.p50_us,
        *p50_ratio,
        *p50_ratio < 1.0,
    );
    group(
        plain.p99_us,
        accelerated.p99_us,
        *p99_ratio,
        *p99_ratio < 1.0,
    );
    group(
        plain.requests_per_second,
        accelerated.requests_per_second,
        *rate_ratio,
        *rate_ratio > 1.0,
    );
    line
}

/// Reasons or kinds with their counts.
pub fn counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if parts.is_empty() {
        String::from("none")
    } else {
        parts.join(", ")
    }
}
