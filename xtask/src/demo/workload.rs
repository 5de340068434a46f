//! One run of server and client, in the process that `socketvirt exec` accelerates or does not.
//!
//! The benchmark's own values are the data that is checked: a value that came through garbled, or a
//! command that was lost or sent twice, is seen when redis-cli reads back what the server holds.

use std::{fmt::Write as _, fs, path::PathBuf, process};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    benchmark::{self, Measurement},
    cpus::Cpus,
    redis::Server,
};

/// Keys that the benchmark writes to, chosen by it at random.
const KEYS: u32 = 1000;

/// redis-benchmark writes a number of twelve digits below `KEYS` in place of `__rand_int__`.
const KEY: &str = "sv:__rand_int__";

#[derive(Args)]
pub struct Options {
    #[arg(long)]
    requests: u32,
    #[arg(long, value_enum)]
    cpus: Cpus,
    #[arg(long)]
    outcome: PathBuf,
}

/// What one run measured, and whether the data was right.
#[derive(Deserialize, Serialize, Debug)]
pub struct Outcome {
    pub measurements: Vec<Measurement>,
    pub data: Data,
}

/// The data check.
#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq, Debug)]
pub struct Data {
    /// Values that redis-cli read back.
    pub values: u64,
    /// Those that were not what the benchmark had sent.
    pub wrong_values: u64,
    /// Increments that the benchmark sent.
    pub increments: u64,
    /// The counter afterwards.
    pub counter: u64,
}

pub fn run(options: &Options) -> Result<()> {
    let directory = tempfile::tempdir().context("creating a temporary directory")?;
    let server = Server::start(options.cpus, directory.path())?;
    let value = value();
    let commands: [&[&str]; 3] = [&["SET", KEY, &value], &["GET", KEY], &["INCR", "counter"]];
    let measurements = commands
        .iter()
        .map(|words| benchmark::measure(options.cpus, server.port(), options.requests, KEYS, words))
        .collect::<Result<_>>()?;

    let script = directory.path().join("commands");
    let mut text = String::from("GET counter\n");
    for key in 0..KEYS {
        writeln!(text, "GET sv:{key:012}")?;
    }
    fs::write(&script, text).with_context(|| format!("writing {}", script.display()))?;
    let answers = benchmark::ask(server.port(), &script)?;

    let outcome = Outcome {
        measurements,
        data: check(&answers, &value, options.requests)?,
    };
    fs::write(&options.outcome, serde_json::to_vec(&outcome)?)
        .with_context(|| format!("writing {}", options.outcome.display()))
}

/// 64 letters and digits that differ from run to run.
fn value() -> String {
    const ALPHABET: [char; 32] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
        's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7',
    ];
    let mut state = process::id();
    (0..64)
        .map(|_| {
            // Knuth's multiplier; the upper bits are the good ones.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ALPHABET[(state >> 27) as usize]
        })
        .collect()
}

/// The first answer is the counter; the others are values, empty for keys that were never drawn.
fn check(answers: &str, value: &str, requests: u32) -> Result<Data> {
    let mut answers = answers.lines();
    let counter = answers.next().context("redis-cli gave no answer")?;
    let values: Vec<_> = answers.filter(|answer| !answer.is_empty()).collect();
    let wrong = values.iter().filter(|found| **found != value).count();
    Ok(Data {
        values: values.len() as u64,
        wrong_values: wrong as u64,
        increments: requests.into(),
        counter: counter
            .parse()
            .with_context(|| format!("the counter is {counter:?}"))?,
    })
}

impl Data {
    pub const fn is_right(self) -> bool {
        self.values > 0 && self.wrong_values == 0 && self.counter == self.increments
    }
}

impl Outcome {
    /// For the progress.
    pub fn line(&self) -> String {
        let parts: Vec<_> = self
            .measurements
            .iter()
            .map(|measurement| {
                format!(
                    "{} {:.0}/s",
                    measurement.command, measurement.requests_per_second
                )
            })
            .collect();
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_data_is_right() -> Result<()> {
        let data = check("7\nabc\n\nabc\n", "abc", 7)?;
        assert_eq!((data.values, data.wrong_values, data.counter), (2, 0, 7));
        assert!(data.is_right());
        Ok(())
    }

    #[test]
    fn a_garbled_value_and_a_wrong_count_are_seen() -> Result<()> {
        assert!(!check("7\nabc\nabd\n", "abc", 7)?.is_right());
        assert!(!check("8\nabc\n", "abc", 7)?.is_right());
        assert!(!check("6\nabc\n", "abc", 7)?.is_right());
        assert!(!check("7\n\n\n", "abc", 7)?.is_right());
        assert!(check("", "abc", 7).is_err());
        Ok(())
    }
}
