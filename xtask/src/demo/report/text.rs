//! The report for people: the loads of each place, with bars on a terminal, then one line a fact.

use std::io::{self, IsTerminal as _};

use test_support::summary::counts;
use xtask::progress::Style;

use super::super::{network::Place, redis::Measured};
use super::{Fast, Ratio, Report, Row, Side};

/// Characters of the longest bar.
const BAR: usize = 30;

impl Report {
    pub fn text(&self, style: Style) -> String {
        self.layout(style, io::stdout().is_terminal())
    }

    /// The text, with bars or as a table.
    pub(super) fn layout(&self, style: Style, bars: bool) -> String {
        let rows = self.rows();
        let mut lines = Vec::new();
        for place in Place::ALL {
            let rows: Vec<_> = rows.iter().filter(|row| row.place == place).collect();
            if rows.is_empty() {
                continue;
            }
            lines.push(String::new());
            lines.push(style.bold(&place.to_string()));
            if bars {
                lines.extend(with_bars(&rows, style));
            } else {
                lines.push(columns());
                lines.extend(rows.iter().map(|row| line(row, style)));
            }
        }
        lines.push(format!(
            "({} rounds: medians, and the least and the most of the rounds' ratios)",
            self.rounds
        ));
        lines.extend(slower(&rows, style));
        lines.push(String::new());
        lines.extend(self.proofs(style));
        lines.push(String::new());
        lines.join("\n")
    }

    /// Tells what the agents say that they did, and what the demo checked by itself.
    fn proofs(&self, style: Style) -> [String; 4] {
        let Fast {
            deeds,
            left_on_stack,
            errors,
        } = &self.fast;
        let good = |text: &str, is: bool| {
            if is {
                style.green(text)
            } else {
                style.red(text)
            }
        };
        let share = format!("{:.1}%", deeds.bytes.fast_share() * 100.0);
        let right = if self.all_right { "right" } else { "WRONG" };
        let left = if self.leftovers.found.is_empty() {
            String::from("nothing")
        } else {
            self.leftovers.found.join("; ")
        };
        let (data, answers) = (self.data, self.answers);
        [
            format!(
                "fast path    {} of the bytes, {} of {} connections (mode {}; left on the stack: {}; errors: {})",
                good(&share, deeds.bytes.fast > 0),
                deeds.adopted,
                deeds.pairs,
                Fast::MODE,
                counts(left_on_stack),
                counts(errors)
            ),
            format!(
                "redis holds  {}: {} values, {} of them wrong; {} increments sent, {} counted",
                good(right, self.all_right),
                data.values,
                data.wrong_values,
                data.increments,
                data.counted
            ),
            format!(
                "nginx        {} answers compared, {} of them wrong; wrk saw no error",
                answers.compared, answers.wrong
            ),
            format!(
                "left behind  {} (searched: {}, namespaces)",
                good(&left, self.leftovers.found.is_empty()),
                self.leftovers.searched
            ),
        ]
    }
}

/// Names the loads that acceleration makes slower.
fn slower(rows: &[Row], style: Style) -> Option<String> {
    let slower: Vec<_> = rows
        .iter()
        .filter(|row| row.ratio.is_slower())
        .map(|row| {
            let Row {
                place, load, ratio, ..
            } = row;
            format!("{load}, {}: {:.2}x", place.word(), ratio.median)
        })
        .collect();
    let told = style.red("SLOWER here when accelerated:");
    (!slower.is_empty()).then(|| format!("{told} {}", slower.join("; ")))
}

fn ratio(ratio: Ratio, style: Style) -> String {
    let Ratio {
        median,
        least,
        most,
    } = ratio;
    let text = format!("{median:.2}x ({least:.2} to {most:.2})");
    if ratio.is_slower() {
        style.red(&text)
    } else if median > 1.0 {
        style.green(&text)
    } else {
        text
    }
}

fn columns() -> String {
    format!(
        "  {:<11}{:>10}{:>10}{:>12}{:>8}   requests/s, accelerated by plain",
        "", "plain/s", "accel./s", "p50 plain", "accel."
    )
}

fn line(row: &Row, style: Style) -> String {
    let Row {
        load,
        plain,
        accelerated,
        ..
    } = row;
    format!(
        "  {load:<11}{:>10.0}{:>10.0}{:>9.0} us{:>5.0} us   {}",
        plain.requests_per_second,
        accelerated.requests_per_second,
        plain.p50_us,
        accelerated.p50_us,
        ratio(row.ratio, style)
    )
}

/// Two bars a load, to one scale in a place.
fn with_bars(rows: &[&Row], style: Style) -> Vec<String> {
    let rates = rows.iter().flat_map(|row| [row.plain, row.accelerated]);
    let most = rates.map(|one| one.requests_per_second).fold(1.0, f64::max);
    let line = |name: &str, side: Side, measured: Measured, more: &str| {
        let bar = bar(measured.requests_per_second / most);
        let shown = match side {
            Side::Plain => bar,
            Side::Accelerated => style.green(&bar),
        };
        format!(
            "  {name:<11}{:<12}{shown} {:>6.0}/s  p50 {:>3.0} us{more}",
            side.word(),
            measured.requests_per_second,
            measured.p50_us
        )
    };
    let pair = |row: &&Row| {
        let more = format!("  {}", ratio(row.ratio, style));
        [
            line(&row.load.to_string(), Side::Plain, row.plain, ""),
            line("", Side::Accelerated, row.accelerated, &more),
        ]
    };
    rows.iter().flat_map(pair).collect()
}

/// A bar for a share of the longest, padded to its length.
fn bar(share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and a few dozen"
    )]
    let length = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{:<BAR$}", "█".repeat(length))
}
