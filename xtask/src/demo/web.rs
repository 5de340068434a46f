//! nginx and wrk. curl compares answers with the file that nginx serves, because wrk looks at their status alone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use test_support::random;

use super::{network::Place, redis::Measured, stage::Stage};

/// The demo has a network of its own, so this one is free.
pub const PORT: u16 = 8080;

/// The file that is served.
pub const FILE: &str = "small";

/// Bytes of that file; with its header an answer is about 850.
const SIZE: usize = 612;

/// Connections at a time; each has one request under way.
const CONNECTIONS: &str = "8";

/// Answers that are compared in each turn, of one connection.
const COMPARED: usize = 500;

/// The answers that clients got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// Those that were compared.
    pub compared: u64,
    /// Those that differ from the file.
    pub wrong: u64,
}

impl Answers {
    pub const fn are_right(self) -> bool {
        self.compared > 0 && self.wrong == 0
    }

    pub const fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.wrong += other.wrong;
    }
}

/// The bytes of the file.
pub fn content() -> String {
    random::numbered(SIZE)
}

/// Succeeds once the server answers.
pub fn answers(stage: &Stage<'_>) -> Result<()> {
    get(stage, Place::Loopback, "").map(drop)
}

/// Requests the file for about `time`, then compares answers.
pub fn turn(stage: &Stage<'_>, place: Place, time: Duration) -> Result<(Measured, Answers)> {
    let (seconds, url) = (time.as_secs().max(1).to_string(), url(place));
    let wrk = [
        "wrk",
        "--latency",
        "-t",
        "1",
        "-c",
        CONNECTIONS,
        "-d",
        &seconds,
        &url,
    ];
    let report = stage.client(place, &wrk)?;
    let measured =
        parse(&report).with_context(|| format!("understanding the output of wrk:\n{report}"))?;
    let got = get(stage, place, &format!("?[1-{COMPARED}]"))?;
    Ok((measured, compare(&got, &content())))
}

fn url(place: Place) -> String {
    format!("http://{}:{PORT}/{FILE}", place.address())
}

/// Requests the file, as often as `query` has numbers.
fn get(stage: &Stage<'_>, place: Place, query: &str) -> Result<String> {
    let url = url(place) + query;
    stage.client(place, &["curl", "--silent", "--show-error", "--fail", &url])
}

fn compare(got: &str, content: &str) -> Answers {
    let wrong = (0..COMPARED)
        .filter(|number| {
            let first = number * content.len();
            got.get(first..first + content.len()) != Some(content)
        })
        .count();
    // One byte too many is a wrong answer too.
    let more = usize::from(got.len() > COMPARED * content.len());
    Answers {
        compared: COMPARED as u64,
        wrong: (wrong + more) as u64,
    }
}

fn parse(report: &str) -> Result<Measured> {
    for word in ["Non-2xx", "Socket errors"] {
        ensure!(!report.contains(word), "wrk had errors");
    }
    let value = |name: &str| {
        let mut lines = report.lines();
        let line = lines.find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("no {name}"))
    };
    let rate = value("Requests/sec:")?;
    Ok(Measured {
        requests_per_second: rate.parse().with_context(|| format!("a rate of {rate}"))?,
        p50_us: microseconds(value("50%")?)?,
    })
}

/// `87.00us`, `1.20ms`, `2.00s`.
fn microseconds(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .with_context(|| format!("a time of {text}"))?;
    let number: f64 = number
        .parse()
        .with_context(|| format!("a time of {text}"))?;
    Ok(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 1s test @ http://10.96.0.10:8080/small\n  1 threads and 4 connections\n  \
        Latency Distribution\n     50%   87.00us\n     75%    1.20ms\n  33012 requests in 1.10s, 26.70MB read\n\
        Requests/sec:  30010.91\nTransfer/sec:     24.27MB\n";

    #[test]
    fn a_report_is_understood() -> Result<()> {
        let found = parse(REPORT)?;
        assert!((found.requests_per_second - 30010.91).abs() < 1e-9);
        assert!((found.p50_us - 87.0).abs() < 1e-9);
        assert!((microseconds("1.20ms")? - 1200.0).abs() < 1e-9);
        assert!((microseconds("2.00s")? - 2e6).abs() < 1e-9);
        assert!(microseconds("2 m").is_err());
        Ok(())
    }

    #[test]
    fn errors_of_the_server_are_no_measurement() {
        assert!(parse(&format!("{REPORT}  Non-2xx or 3xx responses: 1\n")).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn every_answer_is_compared() {
        let good = "abc".repeat(COMPARED);
        assert!(compare(&good, "abc").are_right());
        assert_eq!(compare(&good.replacen('b', "x", 1), "abc").wrong, 1);
        assert!(!compare(&good[..good.len() - 3], "abc").are_right());
        assert!(!compare(&(good + "a"), "abc").are_right());
    }
}
