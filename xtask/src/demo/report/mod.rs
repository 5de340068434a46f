//! The results of the rounds, side by side, and the demo's verdict.

mod text;

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, bail};
use serde::Serialize;
use test_support::{
    leftovers::Leftovers,
    stats::median,
    summary::{Deeds, counts},
};

use super::{
    network::Place,
    redis::{Data, Measured},
    web::Answers,
};

/// The two sides of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Plain,
    Accelerated,
}

impl Side {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Accelerated => "accelerated",
        }
    }
}

/// The requests of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    RedisSet,
    RedisIncrement,
    NginxGet,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RedisSet => "redis SET",
            Self::RedisIncrement => "redis INCR",
            Self::NginxGet => "nginx GET",
        })
    }
}

/// The agents' words on all their turns.
#[derive(Debug, Default, Serialize)]
pub struct Fast {
    #[serde(flatten)]
    pub deeds: Deeds,
    /// Sockets without a fast path, by reason.
    pub left_on_stack: BTreeMap<String, u64>,
    /// Refusals and errors, by kind.
    pub errors: BTreeMap<String, u64>,
}

impl Fast {
    /// The mode of the agents.
    pub const MODE: &'static str = "adopt";
}

/// The measurements of each round, plain and accelerated.
type Rounds = [Vec<Measured>; 2];

/// Everything that the rounds brought.
#[derive(Debug)]
pub struct Report {
    pub rounds: u32,
    measured: BTreeMap<(Place, Load), Rounds>,
    pub fast: Fast,
    /// Of the accelerated turns, as are the answers.
    pub data: Data,
    pub answers: Answers,
    /// True while the data and the answers of each turn are right.
    pub all_right: bool,
    pub leftovers: Leftovers,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            rounds: 0,
            measured: BTreeMap::new(),
            fast: Fast::default(),
            data: Data::default(),
            answers: Answers::default(),
            all_right: true,
            leftovers: Leftovers::default(),
        }
    }
}

/// One load in one place: medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    place: Place,
    load: Load,
    plain: Measured,
    accelerated: Measured,
    /// Requests a second, accelerated by plain: above 1 is faster.
    ratio: Ratio,
}

/// The median of the rounds' ratios, and the spread of them.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ratio {
    median: f64,
    least: f64,
    most: f64,
}

impl Ratio {
    /// Less is within what the machine wavers by.
    const NOTABLE: f64 = 0.97;

    fn is_slower(self) -> bool {
        self.median < Self::NOTABLE
    }
}

impl Report {
    pub fn add(&mut self, row: (Place, Load), side: Side, measured: Measured) {
        self.measured.entry(row).or_default()[side as usize].push(measured);
    }

    /// The last turn of a side, for the progress.
    pub fn last(&self, side: Side) -> String {
        let last = |rounds: &Rounds| {
            rounds[side as usize]
                .last()
                .map(|one| one.requests_per_second)
        };
        let of = |place| {
            let rows = self
                .measured
                .iter()
                .filter(move |((at, _), _)| *at == place);
            let rates = rows.filter_map(|(_, rounds)| last(rounds));
            rates
                .map(|rate| format!("{:.0}k", rate / 1000.0))
                .collect::<Vec<_>>()
        };
        let [containers, loopback] = Place::ALL.map(|place| of(place).join(" "));
        format!("SET INCR GET/s: containers {containers}, loopback {loopback}")
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(&(place, load), rounds): (&(Place, Load), &Rounds)| {
            let ratios = rounds[0].iter().zip(&rounds[1]);
            let ratios: Vec<_> = ratios
                .map(|(plain, fast)| fast.requests_per_second / plain.requests_per_second)
                .collect();
            let [plain, accelerated] = rounds.each_ref().map(|side| medians(side));
            Row {
                place,
                load,
                plain,
                accelerated,
                ratio: Ratio {
                    least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
                    most: ratios.iter().copied().fold(0.0, f64::max),
                    median: middle(ratios),
                },
            }
        };
        self.measured.iter().map(row).collect()
    }

    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Json<'a> {
            ok: bool,
            mode: &'static str,
            rounds: u32,
            rows: Vec<Row>,
            fast_byte_share: f64,
            agents: &'a Fast,
            data: Data,
            answers: Answers,
            left_behind: &'a [String],
        }

        Ok(serde_json::to_string_pretty(&Json {
            ok: self.verdict().is_ok(),
            mode: Fast::MODE,
            rounds: self.rounds,
            rows: self.rows(),
            fast_byte_share: self.fast.deeds.bytes.fast_share(),
            agents: &self.fast,
            data: self.data,
            answers: self.answers,
            left_behind: &self.leftovers.found,
        })?)
    }

    /// Fails unless the demo showed what it is to show. Speed is told, not judged.
    pub fn verdict(&self) -> Result<()> {
        if !self.all_right {
            bail!("accelerated clients did not get, or servers do not hold, what was sent");
        }
        let Fast {
            deeds,
            left_on_stack,
            errors,
        } = &self.fast;
        if deeds.bytes.fast == 0 {
            bail!(
                "no byte went the fast way: {} pairs, left on the stack: {}, errors: {}",
                deeds.pairs,
                counts(left_on_stack),
                counts(errors)
            );
        }
        if !self.leftovers.found.is_empty() {
            bail!("left behind: {}", self.leftovers.found.join("; "));
        }
        Ok(())
    }
}

/// The median; 0 of nothing.
fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    median(values).unwrap_or(0.0)
}

fn medians(rounds: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| middle(rounds.iter().map(value));
    Measured {
        requests_per_second: of(|one| one.requests_per_second),
        p50_us: of(|one| one.p50_us),
    }
}

#[cfg(test)]
mod tests;
