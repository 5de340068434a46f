//! redis-server and redis-benchmark, whose own values are the data that is checked: a value that came through garbled,
//! or a command that was lost or sent twice, is seen when redis-cli reads back what the server holds.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use test_support::random::Random;

use super::{network::Place, stage::Stage};

/// The demo has a network of its own, so the usual port is free.
const PORT: &str = "6379";

/// Connections at a time; each has one command under way.
const CONNECTIONS: &str = "8";

/// Keys that the benchmark writes to, chosen by it at random.
const KEYS: u32 = 500;

/// Commands of a first try, which tells how many fill the time.
const FIRST: f64 = 5000.0;

/// Requests a second, and the median of their times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub requests_per_second: f64,
    pub p50_us: f64,
}

/// The server's data, as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Data {
    /// Values that redis-cli read back.
    pub values: u64,
    /// Those that were not what the benchmark had sent.
    pub wrong_values: u64,
    /// Increments that the benchmark sent.
    pub increments: u64,
    /// Increments that the counter shows.
    pub counted: u64,
}

impl Data {
    pub const fn is_right(self) -> bool {
        self.values > 0 && self.wrong_values == 0 && self.counted == self.increments
    }

    pub const fn add(&mut self, other: Self) {
        self.values += other.values;
        self.wrong_values += other.wrong_values;
        self.increments += other.increments;
        self.counted += other.counted;
    }
}

/// The two commands that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Set,
    Increment,
}

/// The server's command line.
pub fn server(folder: &Path) -> String {
    // `--save ''`: an empty word stays one.
    format!(
        "redis-server --port {PORT} --protected-mode no --save  --appendonly no --dir {}",
        folder.display()
    )
}

/// Succeeds once the server answers.
pub fn answers(stage: &Stage<'_>) -> Result<()> {
    cli(stage, Place::Loopback, "PING\n").map(drop)
}

/// Measures one side's turns, and knows what the server has to hold after them.
pub struct Benchmark {
    /// Commands a second by command, at most so far: by the last ones, a moment in which the machine was busy would make
    /// the next turn too short to tell anything.
    rates: [f64; 2],
    random: Random,
}

impl Benchmark {
    pub fn new() -> Self {
        Self {
            rates: [0.0; 2],
            random: Random::new(std::process::id().into()),
        }
    }

    /// Sends both commands for about `time` each, then reads back what the server holds.
    pub fn turn(
        &mut self,
        stage: &Stage<'_>,
        place: Place,
        time: Duration,
    ) -> Result<([Measured; 2], Data)> {
        // Of other turns nothing may be found.
        cli(stage, place, "FLUSHALL\n")?;
        let value = value(&mut self.random);
        let mut increments = 0;
        let mut measure = |command: Command| -> Result<Measured> {
            let rate = &mut self.rates[command as usize];
            if *rate == 0.0 {
                *rate = benchmark(stage, place, command, &value, FIRST)?.requests_per_second;
                increments += count(command, FIRST);
            }
            let commands = (*rate * time.as_secs_f64()).max(FIRST).round();
            let measured = benchmark(stage, place, command, &value, commands)?;
            increments += count(command, commands);
            *rate = rate.max(measured.requests_per_second);
            Ok(measured)
        };
        let measured = [measure(Command::Set)?, measure(Command::Increment)?];
        let mut script = String::from("GET counter\n");
        for key in 0..KEYS {
            writeln!(script, "GET sv:{key:012}")?;
        }
        let held = cli(stage, place, &script)?;
        Ok((measured, check(&held, &value, increments)?))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number of commands, of some seconds at most"
)]
const fn count(command: Command, commands: f64) -> u64 {
    match command {
        Command::Set => 0,
        Command::Increment => commands as u64,
    }
}

fn benchmark(
    stage: &Stage<'_>,
    place: Place,
    command: Command,
    value: &str,
    commands: f64,
) -> Result<Measured> {
    let (count, keys) = (format!("{commands:.0}"), KEYS.to_string());
    let mut words = vec!["redis-benchmark", "-h", place.address(), "-p", PORT];
    words.extend(["-c", CONNECTIONS, "--csv", "-n", &count, "-r", &keys]);
    match command {
        // It writes a number of twelve digits below `KEYS` there.
        Command::Set => words.extend(["SET", "sv:__rand_int__", value]),
        Command::Increment => words.extend(["INCR", "counter"]),
    }
    let csv = stage.client(place, &words)?;
    parse(&csv).with_context(|| format!("understanding the output of redis-benchmark:\n{csv}"))
}

/// Sends each line as a command; returns the answers, one a line.
fn cli(stage: &Stage<'_>, place: Place, commands: &str) -> Result<String> {
    let file = stage.file("commands");
    std::fs::write(&file, commands).context("writing commands for redis-cli")?;
    let line = format!(
        "exec redis-cli --raw -h {} -p {PORT} < {}",
        place.address(),
        file.display()
    );
    stage.client(place, &["sh", "-c", &line])
}

/// 64 letters that differ from turn to turn.
fn value(random: &mut Random) -> String {
    (0..64)
        .filter_map(|_| char::from_digit(random.within(0..=35), 36))
        .collect()
}

/// A line of column names, then one of values, all in quotes.
fn parse(csv: &str) -> Result<Measured> {
    let mut lines = csv.lines().filter(|line| line.starts_with('"'));
    let names: Vec<_> = split(lines.next().context("no column names")?).collect();
    let values: Vec<_> = split(lines.next().context("no values")?).collect();
    let column = |name: &str| -> Result<f64> {
        let index = names.iter().position(|found| *found == name);
        let value = index.and_then(|index| values.get(index));
        let value = value.with_context(|| format!("no column {name}"))?;
        value
            .parse()
            .with_context(|| format!("{name} is {value:?}"))
    };
    Ok(Measured {
        requests_per_second: column("rps")?,
        p50_us: column("p50_latency_ms")? * 1000.0,
    })
}

/// Commas within a value end up in the first one, the command.
fn split(line: &str) -> impl Iterator<Item = &str> {
    line.trim_matches('"').split("\",\"")
}

/// The first answer is the counter; the others are values, empty for keys that were never drawn.
fn check(answers: &str, value: &str, increments: u64) -> Result<Data> {
    let mut answers = answers.lines();
    let counter = answers.next().context("redis-cli gave no answer")?;
    let values: Vec<_> = answers.filter(|answer| !answer.is_empty()).collect();
    let wrong = values.iter().filter(|found| **found != value).count();
    Ok(Data {
        values: values.len() as u64,
        wrong_values: wrong as u64,
        increments,
        counted: counter
            .parse()
            .with_context(|| format!("the counter is {counter:?}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_understood() -> Result<()> {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\"\n\
                   \"SET sv:__rand_int__ a\",\"40000.00\",\"0.02\",\"0.01\",\"0.023\",\"0.03\"\n";
        let found = parse(csv)?;
        assert!((found.requests_per_second - 40000.0).abs() < 1e-9);
        assert!((found.p50_us - 23.0).abs() < 1e-9);
        assert!(parse("Error: Connection reset\n").is_err());
        Ok(())
    }

    #[test]
    fn right_data_is_right() -> Result<()> {
        let data = check("7\nabc\n\nabc\n", "abc", 7)?;
        assert_eq!((data.values, data.wrong_values, data.counted), (2, 0, 7));
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
