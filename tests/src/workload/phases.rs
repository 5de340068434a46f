//! Phases: the language in which the script of a connection is written.
//!
//! A script is built from a list of phases such as
//! `fast@200,stream:1M,down:4M,slowup:1M,idle:300`. Both ends build the same
//! script from the same seed, so neither has to tell the other what comes.
//!
//! ```text
//! pp:500x4K@200!fast,stream:1M
//! │  │   │  │   │    └ then 0.5 to 1 MB each way, both at once
//! │  │   │  │   └ again until all bytes of the last round were redirected
//! │  │   │  └ 200 rounds a second; without it, one right after the other
//! │  │   └ messages of up to 4 KB; without it, 2 KB
//! │  └ 500 rounds
//! └ a request and its answer, in turn
//! ```
//!
//! [`Phase`] has all phases, [`Condition`] all conditions, CONTRIBUTING.md both
//! as tables. A phase with a condition comes again, as a whole, until that
//! holds, so no script depends on the pace of a machine. The end that speaks
//! first in it decides ([`crate::gate`]). `fast` is short for `pp:4!fast`,
//! `rfast` for `rpp:4!fast`.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::gate::Condition;

/// One phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `pp:ROUNDS[xMAX][@RATE]`: a request and its answer, in turn.
    /// `rpp` is the same with the accepting side asking.
    PingPong {
        rounds: u32,
        max: usize,
        rate: u32,
        reversed: bool,
    },
    /// `pipe:ROUNDSxDEPTH`: DEPTH requests at once, answered as they come.
    Pipelined { rounds: u32, depth: u32 },
    /// `stream:BYTES`: both directions at once, random sizes, slow readers.
    Stream { bytes: u64 },
    /// `up:BYTES`, `down:BYTES`: one way, large blocks. With `slow` the reader
    /// takes small pieces with pauses.
    Bulk { bytes: u64, up: bool, slow: bool },
    /// `told:BYTES`: large blocks from the client, and a byte back once all were read.
    Told { bytes: u64 },
    /// `idle:MS`: nothing.
    Idle { ms: u32 },
}

impl Phase {
    /// Returns whether the client speaks first; none when nobody does.
    pub(super) fn client_first(self) -> Option<bool> {
        match self {
            Self::PingPong { reversed, .. } => Some(!reversed),
            Self::Pipelined { .. } | Self::Told { .. } => Some(true),
            Self::Bulk { up, .. } => Some(up),
            Self::Stream { .. } | Self::Idle { .. } => None,
        }
    }
}

/// A phase, and until when it comes again.
pub(crate) type Timed = (Phase, Option<Condition>);

/// A list of phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phases(pub(crate) Vec<Timed>);

impl Phases {
    /// Counts those that come again until something holds.
    pub(crate) fn conditions(&self) -> usize {
        self.0.iter().filter(|(_, until)| until.is_some()).count()
    }
}

impl FromStr for Phases {
    type Err = anyhow::Error;

    /// Reads the language that is at the top of this file.
    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(timed).collect::<Result<_>>().map(Self)
    }
}

/// `fast@RATE` is short for `pp:4@RATE!fast`, `rfast@RATE` for
/// `rpp:4@RATE!fast`.
fn timed(text: &str) -> Result<Timed> {
    let long = |name: &str, rounds: &str| {
        let rest = text.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('@')).then(|| format!("{rounds}{rest}!fast"))
    };
    let long = long("fast", "pp:4").or_else(|| long("rfast", "rpp:4"));
    let text = long.as_deref().unwrap_or(text);
    let Some((name, until)) = text.split_once('!') else {
        return Ok((phase(text)?, None));
    };
    let phase = phase(name)?;
    ensure!(
        phase.client_first().is_some(),
        "phase {text}: nobody speaks first, so nobody decides"
    );
    Ok((phase, Some(until.parse()?)))
}

fn phase(text: &str) -> Result<Phase> {
    let (name, rest) = text
        .split_once(':')
        .with_context(|| format!("phase {text}: no colon"))?;
    let (rest, rate) = rest.split_once('@').unwrap_or((rest, "0"));
    let (amount, factor) = rest.split_once('x').unwrap_or((rest, ""));
    let rounds = || {
        amount
            .parse()
            .with_context(|| format!("phase {text}: a count"))
    };
    Ok(match name {
        "pp" | "rpp" => Phase::PingPong {
            rounds: rounds()?,
            max: if factor.is_empty() {
                2048
            } else {
                usize::try_from(bytes(factor)?)?
            },
            rate: rate
                .parse()
                .with_context(|| format!("phase {text}: a rate"))?,
            reversed: name == "rpp",
        },
        "pipe" => Phase::Pipelined {
            rounds: rounds()?,
            depth: factor
                .parse()
                .with_context(|| format!("phase {text}: a depth"))?,
        },
        "stream" => Phase::Stream {
            bytes: bytes(amount)?,
        },
        "up" | "down" | "slowup" | "slowdown" => Phase::Bulk {
            bytes: bytes(amount)?,
            up: name.ends_with("up"),
            slow: name.starts_with("slow"),
        },
        "told" => Phase::Told {
            bytes: bytes(amount)?,
        },
        "idle" => Phase::Idle { ms: rounds()? },
        _ => bail!("phase {text}: not known"),
    })
}

/// A number with an optional K or M.
pub(crate) fn bytes(text: &str) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("{text}: not a size"))?;
    Ok(number << shift)
}
