//! The list of metrics in `docs/metrics.md`.

use std::fmt::Write as _;

use super::{Kind, METRICS};

/// Returns the table of the page.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| name | kind | labels | shows |\n|---|---|---|---|\n");
    for metric in &METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let (name, labels) = (metric.full_name(), labels.join(", "));
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", metric.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const BEGIN: &str = "<!-- generated: metrics -->\n";
    const END: &str = "<!-- end: metrics -->\n";

    /// `SOCKETVIRT_BLESS=1` writes the page anew.
    #[test]
    fn the_published_list_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (published, after) = rest.split_once(END).unwrap();
        if std::env::var_os("SOCKETVIRT_BLESS").is_some() {
            fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        } else {
            assert!(
                published == table(),
                "{} is stale: run this test with SOCKETVIRT_BLESS=1",
                path.display()
            );
        }
    }
}
