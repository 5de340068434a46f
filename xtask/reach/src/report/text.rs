//! The report for people, and as a table of a page.

use std::fmt::Write as _;

use test_support::stats::Interval;
use xtask::progress::Style;

use super::{Line, Report};

impl Report {
    pub fn text(&self, style: Style) -> String {
        let heading = format!(
            "{:<16} {:>11} {:>11} {:>22} {:>8} {:>7}  {}",
            "deployment",
            "plain/s",
            "accel./s",
            "accelerated by plain",
            "by CPU",
            "fast",
            "kept off by"
        );
        let mut text = format!("\n{}\n", style.bold(&heading));
        // Writing to a string cannot fail.
        for line in &self.deployments {
            let reasons: Vec<_> = line.main_reasons().map(|why| why.reason.as_str()).collect();
            let row = format!(
                "{:<16} {:>11.0} {:>11.0} {:>22} {:>7.2}x {:>6.1}%  {}",
                line.name,
                line.plain.rate,
                line.accelerated.rate,
                interval(&line.ratio),
                line.by_cpu.median,
                line.fast_share * 100.0,
                if line.is_kept() {
                    reasons.join(", ")
                } else {
                    String::new()
                },
            );
            let row = if line.is_slower() {
                style.red(&row)
            } else {
                row
            };
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let _ = writeln!(
            text,
            "(medians; ratios of rounds in turn, with the interval that has their true median; by CPU: what a second of \
             processor time does; fast: share of messages)"
        );
        for line in self.deployments.iter().filter(|line| line.is_kept()) {
            let _ = writeln!(text, "\n{}: {}", style.bold(line.name), line.what);
            for why in line.main_reasons() {
                let _ = writeln!(
                    text,
                    "  {} ({} sockets at work, {} ended): {} -> {}",
                    why.reason, why.open, why.ended, why.about, why.change
                );
            }
            if !line.advice.is_empty() {
                let _ = writeln!(text, "  {}", line.advice);
            }
        }
        for left in &self.left_out {
            let _ = writeln!(text, "\n{}: left out: {}", left.name, left.why);
        }
        let slower: Vec<_> = self.slower().collect();
        if !slower.is_empty() {
            let _ = writeln!(text, "\nslower when accelerated: {}", slower.join(", "));
        }
        text
    }

    fn slower(&self) -> impl Iterator<Item = &str> {
        let slower = self.deployments.iter().filter(|line| line.is_slower());
        slower.map(|line| line.name)
    }

    /// The table of a page.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| deployment | messages on the fast path | throughput, accelerated by plain | the same by CPU | kept off by | what an operator can do |\n\
             |---|---|---|---|---|---|\n",
        );
        for line in &self.deployments {
            let _ = writeln!(
                text,
                "| {} | {:.1}% | {} | {} | {} | {} |",
                line.what,
                line.fast_share * 100.0,
                interval(&line.ratio),
                interval(&line.by_cpu),
                reasons(line),
                advice(line),
            );
        }
        for left in &self.left_out {
            let first = left.why.lines().next().unwrap_or_default();
            let _ = writeln!(text, "| {} | not measured: {first} | | | | |", left.name);
        }
        text
    }
}

fn reasons(line: &Line) -> String {
    if !line.is_kept() {
        return String::new();
    }
    let words = line.main_reasons().map(|why| format!("`{}`", why.reason));
    words.collect::<Vec<_>>().join(", ")
}

fn advice(line: &Line) -> String {
    if !line.advice.is_empty() {
        return line.advice.to_owned();
    }
    let first = line.main_reasons().next().filter(|_| line.is_kept());
    first.map_or_else(String::new, |why| why.change.to_owned())
}

fn interval(ratio: &Interval) -> String {
    format!(
        "{:.2}x ({:.2} to {:.2})",
        ratio.median, ratio.lower, ratio.upper
    )
}
