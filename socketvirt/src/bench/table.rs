//! A report as an aligned table.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{
    dump::TableCosts,
    load::TOO_MUCH,
    plan::Variant,
    report::{Case, Outcome, Report, Worker},
    scale,
    wire::Work,
};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Linux {}, {} CPUs; medians of {} interleaved samples of {} ms; \
             xtcp, xunix, xnaive: how many times better, quartiles in brackets",
            self.kernel, self.cpus, self.rounds, self.sample_millis
        )?;
        let mut heading = None;
        for case in &self.cases {
            if heading != Some((case.group, case.work, case.cpus)) {
                heading = Some((case.group, case.work, case.cpus));
                section(out, case)?;
            }
            for (index, outcome) in case.results.iter().enumerate() {
                let size = if index == 0 {
                    bytes(case.size)
                } else {
                    String::new()
                };
                row(out, &size, outcome)?;
            }
        }
        if !self.workers.is_empty() {
            writeln!(out, "\nwhat `socketvirt exec` said")?;
        }
        self.workers
            .iter()
            .try_for_each(|worker| worker_line(out, worker))?;
        if let Some(costs) = &self.table {
            write!(out, "\n{costs}")?;
        }
        if !self.scale.is_empty() {
            writeln!(out, "\n{}", scale::HEAD)?;
        }
        self.scale.iter().try_for_each(|point| point.fmt(out))?;
        let mut reasons: Vec<&str> = self
            .skipped
            .iter()
            .map(|entry| entry.why.as_str())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons.into_iter().try_for_each(|why| {
            let entries = self.skipped.iter().filter(|entry| entry.why == why);
            let what: Vec<&str> = entries.map(|entry| entry.what.as_str()).collect();
            writeln!(out, "\nnot measured: {}: {why}", what.join(", "))
        })?;
        match self.others_cpu_percent {
            Some(share) if share > TOO_MUCH => writeln!(
                out,
                "\n! others used {share:.0}% of this machine meanwhile: measure again on an idle one"
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for TableCosts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.bytes_per_row {
            writeln!(out, "a kept table takes {bytes} bytes a row")?;
        }
        for dump in &self.dumps {
            let (sockets, seconds) = (dump.sockets, dump.seconds);
            writeln!(out, "a look at {sockets} sockets takes {seconds:.2} s")?;
        }
        Ok(())
    }
}

fn section(out: &mut fmt::Formatter<'_>, case: &Case) -> fmt::Result {
    let work = match case.work {
        Work::RoundTrip | Work::Stream => String::new(),
        Work::Connect => ": connect, accept, close".to_owned(),
        Work::Request => format!(
            ": connect, one request of {} and its response",
            bytes(case.size)
        ),
    };
    let cpus = if case.cpus == 1 {
        "one CPU"
    } else {
        "two CPUs"
    };
    writeln!(out, "\n{}{work}, {cpus}", case.title)?;
    writeln!(
        out,
        "{:>6}  {:<13}{:>9} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6}",
        "size", "variant", case.unit, "p50 us", "p99 us", "cpu us", "xtcp", "xunix", "fast"
    )
}

fn row(out: &mut fmt::Formatter<'_>, size: &str, outcome: &Outcome) -> fmt::Result {
    writeln!(
        out,
        "{size:>6}  {:<13}{:>9} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6}{}{}{}",
        outcome.variant.name(),
        number(Some(outcome.value)),
        number(outcome.p50_us),
        number(outcome.p99_us),
        number(Some(outcome.cpu_us)),
        ratio(outcome.ratio_to_tcp),
        ratio(outcome.ratio_to_unix),
        outcome.fast_share.map_or_else(|| "-".to_owned(), percent),
        outcome
            .spread_to_tcp
            .filter(|_| outcome.variant != Variant::Tcp)
            .map_or_else(String::new, |ratio| format!(
                "  xtcp [{:.3} {:.3}]",
                ratio.lower, ratio.upper
            )),
        outcome
            .ratio_to_naive
            .map_or_else(String::new, |ratio| format!(
                "  xnaive {:.3} [{:.3} {:.3}]",
                ratio.median, ratio.lower, ratio.upper
            )),
        outcome
            .flag
            .map(|flag| format!("  ! {flag}"))
            .unwrap_or_default(),
    )
}

fn worker_line(out: &mut fmt::Formatter<'_>, worker: &Worker) -> fmt::Result {
    write!(out, "{} {}: ", worker.group, worker.variant.name())?;
    match &worker.summary {
        None => out.write_str("no summary")?,
        Some(summary) => write!(out, "{}", told(summary))?,
    }
    match worker.agent_cpu_percent {
        None => writeln!(out),
        Some(share) => writeln!(out, "; the agent used {share:.1}% of a CPU"),
    }
}

/// The parts of a summary that tell whether the label of a variant is right.
fn told(summary: &Value) -> String {
    let count = |pointer: &str| {
        summary
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let (fast, stack) = (count("/bytes/fast"), count("/bytes/stack"));
    let total = u128::from(fast) + u128::from(stack);
    let share = (u128::from(fast) * 100)
        .checked_div(total)
        .unwrap_or_default();
    let mut text = format!(
        "{} mode, {share}% of bytes fast, {} pairs, {} adopted, {} released",
        summary
            .pointer("/receive_mode")
            .and_then(Value::as_str)
            .unwrap_or("unknown"),
        count("/pairs"),
        count("/adopted"),
        count("/released"),
    );
    for (title, pointer) in [("left on stack", "/left_on_stack"), ("errors", "/errors")] {
        let entries: Vec<String> = summary
            .pointer(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !entries.is_empty() {
            let _a_string_takes_all = write!(text, "; {title}: {}", entries.join(", "));
        }
    }
    text
}

fn bytes(size: usize) -> String {
    if size >= 1024 {
        format!("{} KB", size / 1024)
    } else {
        format!("{size} B")
    }
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) if value >= 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_is_told_in_one_line() {
        let summary = json!({
            "receive_mode": "unified", "pairs": 2, "adopted": 1, "released": 0,
            "bytes": {"fast": 75, "stack": 25},
            "left_on_stack": {"blocking": 1, "bulk": 0}, "errors": {},
        });
        assert_eq!(
            told(&summary),
            "unified mode, 75% of bytes fast, 2 pairs, 1 adopted, 0 released; \
             left on stack: blocking 1"
        );
        assert!(told(&json!({})).contains("0% of bytes fast"));
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(number(Some(8.7)), "8.70");
        assert_eq!(number(Some(123.45)), "123.5");
        assert_eq!(number(Some(45_678.9)), "45679");
        assert_eq!(number(None), "-");
    }
}
