//! The traffic: what is run, and what of it was checked byte for byte.

use std::{fs, path::PathBuf, process, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use test_support::random::Random;

use super::{
    faults::{self, Full, SPACE},
    servers::Servers,
};

/// The longest that anything of it may take, though memory and CPUs are taken away from it.
pub const LIMIT: Duration = Duration::from_mins(10);

/// A bit less, so that the workload itself says where it hangs.
const DEADLINE: u32 = 580;

/// The kinds of jobs that traffic is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Streams,
    Churn,
    Redis,
    Memcached,
    Backpressure,
    RedisBenchmark,
    Wrk,
    Files,
    Exec,
    Storm,
    Spaces,
    Full(Full),
}

impl Kind {
    /// The faults of each soak, however short it is, in the order in which they come.
    pub const FAULTS: [Self; 7] = [
        Self::Storm,
        Self::Spaces,
        Self::Full(Full::ALL[0]),
        Self::Full(Full::ALL[1]),
        Self::Full(Full::ALL[2]),
        Self::Full(Full::ALL[3]),
        Self::Full(Full::ALL[4]),
    ];

    /// The other jobs, those that come more often several times.
    const OTHERS: [Self; 13] = [
        Self::Streams,
        Self::Streams,
        Self::Streams,
        Self::Churn,
        Self::Redis,
        Self::Memcached,
        Self::Backpressure,
        Self::RedisBenchmark,
        Self::Wrk,
        Self::Files,
        Self::Exec,
        Self::Storm,
        Self::Spaces,
    ];

    pub fn any(random: &mut Random) -> Self {
        let [first, others @ ..] = Full::ALL.map(Self::Full);
        let full = random.pick(first, &others);
        random.pick(full, &Self::OTHERS)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Churn => "churn",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Backpressure => "backpressure",
            Self::RedisBenchmark => "redis-benchmark",
            Self::Wrk => "wrk",
            Self::Files => "files",
            Self::Exec => "exec",
            Self::Storm => "storm",
            Self::Spaces => "namespaces",
            Self::Full(full) => full.word(),
        }
    }

    /// True when it may run while the other does: two would overwrite each other's keys, or take more of the machine
    /// than the rest gets.
    pub const fn goes_with(self, other: Self) -> bool {
        !matches!(
            (self, other),
            (Self::Redis, Self::Redis)
                | (Self::Memcached, Self::Memcached)
                | (Self::Storm, Self::Storm)
                | (Self::Spaces, Self::Spaces)
                | (Self::Full(_), Self::Full(_))
        )
    }

    /// True when it is `socketvirt exec`, which makes a cgroup of its own.
    pub const fn is_exec(self) -> bool {
        matches!(self, Self::Exec | Self::Full(_))
    }
}

/// The programs that all traffic shares.
pub struct Programs {
    pub binary: PathBuf,
    pub workload: PathBuf,
    pub folder: PathBuf,
}

impl Programs {
    /// A command of this kind.
    pub fn command(
        &self,
        kind: Kind,
        servers: &Servers,
        number: u32,
        random: &mut Random,
    ) -> Vec<String> {
        let workload = self.workload.display();
        let seed = random.within(1..=u32::MAX);
        let words = |text: String| text.split_whitespace().map(String::from).collect();
        let kv = |protocol, port, random: &mut Random| {
            format!(
                "{workload} --deadline {DEADLINE} kv --protocol {protocol} --port {port} --seed {seed} \
                 --connections {} --operations {} --rate {} --value {}",
                random.within(1..=16),
                random.within(500..=4000),
                random.pick(300, &[600, 2000]),
                random.pick(2000, &[20_000, 50_000])
            )
        };
        match kind {
            Kind::Streams => words(self.streams(seed, random)),
            Kind::Churn => words(format!(
                "{workload} --deadline {DEADLINE} streams --late-accept --io {} --connections 16 --total {} --seed {seed} \
                 --phases pp:{}",
                random.pick("level", &["edge"]),
                random.within(100..=600),
                random.within(2..=40)
            )),
            Kind::Redis => words(kv("redis", servers.redis, random)),
            Kind::Memcached => words(kv("memcached", servers.memcached, random)),
            Kind::Backpressure => words(format!(
                "{workload} --deadline {DEADLINE} backpressure --seed {seed} --connections {} --message {} \
                 --warm-rounds {} --warm-rate 200",
                random.within(1..=6),
                random.pick(512, &[4096, 20_000]),
                random.within(200..=800)
            )),
            Kind::RedisBenchmark => words(format!(
                "redis-benchmark -p {} -n {} -c {} -P {} -t set,get --csv",
                servers.redis,
                random.within(5000..=40_000),
                random.within(1..=16),
                random.pick(1, &[1, 8])
            )),
            // Its own limit would call a slow answer an error.
            Kind::Wrk => words(format!(
                "wrk -t 2 -c {} -d {}s --timeout 120s {}/small",
                random.within(2..=32),
                random.within(2..=6),
                servers.web
            )),
            Kind::Files => {
                let script = include_str!("../data/files.sh").to_owned();
                let url = servers.web.clone();
                let folder = self.folder.display().to_string();
                let small = random.within(50..=400).to_string();
                let large = servers.large.display().to_string();
                [
                    ["sh", "-c"].map(String::from).to_vec(),
                    vec![script, "files".into(), url, folder],
                    vec![number.to_string(), small, large],
                ]
                .concat()
            }
            Kind::Exec => words(format!(
                "{} exec --mode {} --quiet --summary {} -- {}",
                self.binary.display(),
                random.pick("adopt", &["eager"]),
                self.summary(number).display(),
                self.streams(seed, random)
            )),
            Kind::Storm => words(format!(
                "{workload} --deadline {DEADLINE} streams --late-accept --seed {seed} {}",
                faults::storm(random)
            )),
            Kind::Spaces => {
                let script = include_str!("../data/spaces.sh").to_owned();
                let name = space(number);
                let (many, rounds) = (random.within(2..=6), random.within(500..=4000));
                [
                    ["sh", "-c"].map(String::from).to_vec(),
                    vec![script, "spaces".into(), workload.to_string(), name],
                    vec![many.to_string(), rounds.to_string()],
                ]
                .concat()
            }
            Kind::Full(full) => {
                let script = include_str!("../data/full.sh").to_owned();
                let file = self.folder.join(format!("full-{number}"));
                let line = format!(
                    "{} exec --mode {} --quiet --summary {} -- sh -c",
                    self.binary.display(),
                    random.pick("adopt", &["eager"]),
                    self.summary(number).display()
                );
                [
                    words(line),
                    vec![script, "full".into(), full.what().into()],
                    vec![format!("{workload} --deadline {DEADLINE}")],
                    vec![file.display().to_string(), full.storm().to_string()],
                    vec![space(number)],
                ]
                .concat()
            }
        }
    }

    fn streams(&self, seed: u32, random: &mut Random) -> String {
        let mut phases = vec![format!("pp:{}@200", random.within(100..=600))];
        for _ in 0..random.within(2..=5) {
            let phase = match random.within(0..=9) {
                0 => format!("stream:{}K", random.within(10..=1500)),
                1 => format!("slowup:{}K", random.within(50..=6000)),
                2 => format!("slowdown:{}K", random.within(50..=6000)),
                3 => format!("up:{}M", random.within(1..=8)),
                4 => format!("down:{}M", random.within(1..=8)),
                5 => format!("pipe:{}x{}", random.within(10..=100), random.within(2..=32)),
                6 => format!("idle:{}", random.within(50..=1500)),
                7 => format!("rpp:{}@200", random.within(50..=300)),
                8 => format!("pp:{}x128", random.within(1000..=10_000)),
                _ => format!("pp:{}@200", random.within(100..=600)),
            };
            phases.push(phase);
        }
        // The ends of an `idle` are not at one time, and the first to end would surprise the other.
        phases.push("pp:20".into());
        let mut line = format!(
            "{} --deadline {DEADLINE} streams --late-accept --io {} --connections {} --seed {seed} --phases {}",
            self.workload.display(),
            random.pick("level", &["edge", "edge-short"]),
            random.within(1..=12),
            phases.join(",")
        );
        if random.once_in(4) {
            line.push_str(" --sndbuf 16384 --rcvbuf 8192");
        }
        if random.once_in(4) {
            line.push_str(" --threads");
        }
        if random.once_in(4) {
            line.push_str(" --family v6");
        }
        line
    }

    /// Where `exec` writes what it did.
    pub fn summary(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }

    /// Removes what a job has left besides its output.
    pub fn tidy(&self, number: u32) {
        // Most have left nothing.
        let _ = fs::remove_file(self.summary(number));
    }
}

/// Returns the beginning of the names of a job's network namespaces.
fn space(number: u32) -> String {
    format!("{SPACE}{}-{number}", process::id())
}

/// The bytes that were checked, from what traffic has printed; an error is what it got wrong.
pub fn checked(kind: Kind, text: &str) -> Result<u64> {
    match kind {
        Kind::Wrk => {
            let wrong = text.contains("Non-2xx") || text.contains("Socket errors");
            anyhow::ensure!(!wrong && text.contains("Requests/sec"), "wrk had errors");
            Ok(0)
        }
        Kind::RedisBenchmark => {
            let good = text.contains("\"GET\"") && !text.to_lowercase().contains("error");
            anyhow::ensure!(good, "redis-benchmark had errors");
            Ok(0)
        }
        _ => {
            let lines = text.lines().filter(|line| line.starts_with('{'));
            let mut bytes = 0;
            for line in lines {
                let said: Value = serde_json::from_str(line).context("reading a workload's end")?;
                bytes += match kind {
                    Kind::Backpressure => said["sent"].as_u64(),
                    // Either side has checked what it received.
                    Kind::Streams
                    | Kind::Churn
                    | Kind::Exec
                    | Kind::Storm
                    | Kind::Spaces
                    | Kind::Full(_) => said["received"].as_u64(),
                    _ => said["bytes"].as_u64(),
                }
                .unwrap_or(0);
            }
            anyhow::ensure!(bytes > 0, "it says of no byte that it is right");
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_checked_is_counted_and_errors_are_found() -> Result<()> {
        let streams = "{\"side\":\"server\",\"sent\":7,\"received\":5}\n{\"side\":\"client\",\"sent\":5,\"received\":7}\n";
        assert_eq!(checked(Kind::Streams, streams)?, 12);
        assert_eq!(
            checked(Kind::Redis, "{\"operations\":2,\"bytes\":99}\n")?,
            99
        );
        assert!(checked(Kind::Streams, "").is_err());
        assert_eq!(checked(Kind::Wrk, "Requests/sec: 7\n")?, 0);
        assert!(
            checked(
                Kind::Wrk,
                "Requests/sec: 7\n  Non-2xx or 3xx responses: 1\n"
            )
            .is_err()
        );
        assert!(checked(Kind::RedisBenchmark, "Error: Connection reset\n").is_err());
        Ok(())
    }
}
