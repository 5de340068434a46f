//! The report for people: aligned tables, and what to do.

use std::fmt::Write as _;

use socketvirt_common::record::config::ReceiveMode;

use super::report::{Difference, Report, Seen};

/// Puts a report into text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = format!(
        "socketvirt {} on Linux {}\n\n",
        report.version, report.kernel
    );
    requirements(&mut text, report);
    if !report.differences.is_empty() {
        text.push('\n');
        differences(&mut text, report);
    }
    advice(&mut text, report);
    text
}

fn requirements(text: &mut String, report: &Report) {
    let rows = report.requirements.iter().map(|requirement| {
        let state = match (requirement.met, requirement.needed) {
            (true, _) => "yes",
            (false, true) => "MISSING",
            (false, false) => "no",
        };
        [
            requirement.name.replace('_', " "),
            state.to_owned(),
            requirement.found.clone(),
        ]
    });
    table(text, ["NEEDED", "", "FOUND"], rows);
}

fn differences(text: &mut String, report: &Report) {
    let used = report.recommendation.receive_mode;
    let rows = report.differences.iter().map(|difference| {
        [
            difference.title.to_owned(),
            with_guard(difference, difference.adopt),
            with_guard(difference, difference.eager),
            seen(difference, used),
            difference.fixed_in.unwrap_or("").to_owned(),
        ]
    });
    let titles = ["DIFFERENCE", "ADOPT", "EAGER", "SEEN HERE", "FIXED IN"];
    table(text, titles, rows);
}

fn with_guard(difference: &Difference, verdict: &str) -> String {
    match difference.guard {
        Some(guard) if matches!(verdict, "guarded" | "partly") => format!("{verdict} ({guard})"),
        _ => verdict.to_owned(),
    }
}

fn seen(difference: &Difference, used: ReceiveMode) -> String {
    let (own, other, name) = match used {
        ReceiveMode::TxOnly => (&difference.tx_only, &difference.unified, "unified"),
        ReceiveMode::Unified | ReceiveMode::TableOnly => {
            (&difference.unified, &difference.tx_only, "tx-only")
        }
    };
    let mut text = answer(own, difference.plain);
    if own.answer != other.answer {
        let _ = write!(text, "; {name}: {}", answer(other, difference.plain));
    }
    text
}

fn answer(seen: &Seen, plain: &str) -> String {
    match (&seen.answer, seen.result) {
        (None, _) => "same".to_owned(),
        (Some(answer), "differs") => format!("`{answer}`, plain `{plain}`"),
        (Some(why), _) => why.clone(),
    }
}

fn advice(text: &mut String, report: &Report) {
    let kept_out: Vec<_> = report
        .differences
        .iter()
        .filter(|difference| matches!(difference.adopt, "differs" | "partly"))
        .collect();
    if !kept_out.is_empty() {
        text.push_str(
            "\nNothing, or nothing in time, keeps these away from programs that depend on them:\n",
        );
        for difference in &kept_out {
            let fact = difference.advice.unwrap_or(difference.fact);
            let _ = writeln!(text, "  {}: {fact}", difference.title);
        }
    }
    text.push('\n');
    for found in &report.receive_modes {
        let passes = found.defect.as_ref().map_or_else(
            || "passes".to_owned(),
            |defect| format!("is not used: {defect}"),
        );
        let _ = writeln!(text, "receive mode {} {passes}", found.mode.word());
    }
    let recommended = &report.recommendation;
    for reason in &recommended.reasons {
        let _ = writeln!(text, "against acceleration: {reason}");
    }
    let _ = writeln!(text, "\nrecommended: {}", recommended.mode);
    if recommended.eager != "no" {
        let differing: Vec<_> = report
            .differences
            .iter()
            .filter(|difference| difference.eager == "differs" && difference.adopt != "differs")
            .map(|difference| difference.title)
            .collect();
        let _ = writeln!(
            text,
            "eager: {}, for programs that were vetted{}",
            recommended.eager,
            if differing.is_empty() {
                String::new()
            } else {
                format!("; it also shows them: {}", differing.join("; "))
            }
        );
    }
}

/// Columns as wide as their longest cell; the last one is not filled up.
fn table<const N: usize>(
    text: &mut String,
    titles: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut all = vec![titles.map(str::to_owned)];
    all.extend(rows);
    let width = |column: usize| {
        let cells = all.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
