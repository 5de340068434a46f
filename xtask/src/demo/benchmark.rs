//! redis-benchmark: one client, one command at a time.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::cpus::Cpus;
use crate::command;

/// Longer than this means that the connection stands still.
const LIMIT_SECONDS: &str = "300";

/// What redis-benchmark measured for one command.
#[derive(Clone, Deserialize, Serialize, PartialEq, Debug)]
pub struct Measurement {
    pub command: String,
    pub p50_us: f64,
    pub p99_us: f64,
    pub requests_per_second: f64,
}

/// Sends `words` as a command `requests` times, each after the answer to the one before.
pub fn measure(
    cpus: Cpus,
    port: u16,
    requests: u32,
    keys: u32,
    words: &[&str],
) -> Result<Measurement> {
    let mut benchmark = cpus.client()?;
    benchmark
        .arg("timeout")
        // Foreground: the terminal's signals must reach the benchmark.
        .args(["--foreground", LIMIT_SECONDS, "redis-benchmark"])
        .args(["-p", &port.to_string(), "-c", "1", "--csv"])
        .args(["-n", &requests.to_string(), "-r", &keys.to_string()])
        .args(words);
    let csv = command::output(&mut benchmark)?;
    let name = words.first().context("a command without words")?;
    parse(name, &csv)
        .with_context(|| format!("understanding the output of redis-benchmark:\n{csv}"))
}

/// Sends each line of a file as a command; returns the answers, one a line.
pub fn ask(port: u16, commands: &Path) -> Result<String> {
    let file =
        std::fs::File::open(commands).with_context(|| format!("opening {}", commands.display()))?;
    let mut client = Command::new("redis-cli");
    client.args(["--raw", "-p", &port.to_string()]).stdin(file);
    let output = client.output().context("starting redis-cli")?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        command::line(&client),
        output.status
    );
    String::from_utf8(output.stdout).context("the output of redis-cli is not UTF-8")
}

/// A line of column names, then one of values, all in quotes.
fn parse(command: &str, csv: &str) -> Result<Measurement> {
    let mut lines = csv.lines().filter(|line| line.starts_with('"'));
    let names: Vec<_> = split(lines.next().context("no column names")?).collect();
    let values: Vec<_> = split(lines.next().context("no values")?).collect();
    let column = |name: &str| -> Result<f64> {
        let index = names.iter().position(|found| *found == name);
        let value = index.and_then(|index| values.get(index));
        let value = value.with_context(|| format!("no column {name}"))?;
        value.parse().with_context(|| format!("column {name}"))
    };
    Ok(Measurement {
        command: command.to_owned(),
        p50_us: column("p50_latency_ms")? * 1000.0,
        p99_us: column("p99_latency_ms")? * 1000.0,
        requests_per_second: column("rps")?,
    })
}

/// No value holds a comma: the commands measured here have none.
fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|field| field.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() -> Result<()> {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"p50_latency_ms\",\"p99_latency_ms\"\n\
                   \"INCR counter\",\"39370.08\",\"0.021\",\"0.023\",\"0.031\"\n";
        let measurement = parse("INCR", csv)?;
        assert_eq!(measurement.command, "INCR");
        assert!((measurement.p50_us - 23.0).abs() < 1e-6);
        assert!((measurement.p99_us - 31.0).abs() < 1e-6);
        assert!((measurement.requests_per_second - 39370.08).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn an_error_of_the_server_is_no_measurement() {
        assert!(parse("SET", "Error from server: READONLY\n").is_err());
    }
}
