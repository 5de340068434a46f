//! The text form of a scenario: steps separated by semicolons, each of them
//! words. What is printed is read back as the same.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error, Result, bail};

use super::step::{By, Call, Flag, Place, Scenario, Step};

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(opt, value) => write!(f, "listen {opt} {value}"),
            Self::Reach => f.write_str("reach"),
            Self::On(end, Place::Here, call) => write!(f, "{end} {call}"),
            Self::On(end, place, call) => write!(f, "{place} {end} {call}"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transfer = |f: &mut fmt::Formatter<'_>, verb, size, by: &By, flags: &[Flag]| {
            write!(f, "{verb} {size}")?;
            if *by != By::Plain {
                write!(f, " by={by}")?;
            }
            flags.iter().try_for_each(|flag| write!(f, " {flag}"))
        };
        match self {
            Self::Send(size, by, flags) => transfer(f, "send", size, by, flags),
            Self::Recv(size, by, flags) => transfer(f, "recv", size, by, flags),
            Self::Fill => f.write_str("fill"),
            Self::Drain => f.write_str("drain"),
            Self::Shut(way) => write!(f, "shut {way}"),
            Self::Close => f.write_str("close"),
            Self::Reset => f.write_str("reset"),
            Self::Set(opt, value) => write!(f, "set {opt} {value}"),
            Self::Get(opt) => write!(f, "get {opt}"),
            Self::Inq => f.write_str("inq"),
            Self::Outq => f.write_str("outq"),
            Self::Mark => f.write_str("mark"),
            Self::Info => f.write_str("info"),
            Self::Counters => f.write_str("counters"),
            Self::Poll => f.write_str("poll"),
            Self::Pollin => f.write_str("pollin"),
            Self::Select => f.write_str("select"),
            Self::Watch(watch) => write!(f, "watch {watch}"),
            Self::Rearm => f.write_str("rearm"),
            Self::Events => f.write_str("events"),
            Self::Wait => f.write_str("wait"),
            Self::Block => f.write_str("block"),
            Self::Nonblock => f.write_str("nonblock"),
            Self::Dup => f.write_str("dup"),
            Self::Pass => f.write_str("pass"),
            Self::Signal(false) => f.write_str("signal"),
            Self::Signal(true) => f.write_str("signal restart"),
            Self::Disconnect => f.write_str("disconnect"),
            Self::Connect(0) => f.write_str("connect"),
            Self::Connect(size) => write!(f, "connect {size}"),
            Self::Accept => f.write_str("accept"),
        }
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let steps = text.split(';').map(str::trim).filter(|one| !one.is_empty());
        let step = |text: &str| {
            text.parse::<Step>()
                .with_context(|| format!("step {text:?}"))
        };
        Ok(Self {
            steps: steps.map(step).collect::<Result<_>>()?,
        })
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["reach"] => return Ok(Self::Reach),
            ["listen", opt, value] => return Ok(Self::Listen(opt.parse()?, value.parse()?)),
            _ => {}
        }
        let mut place = Place::Here;
        if let Some(other) = words.first().and_then(|word| word.parse().ok()) {
            place = other;
            words.remove(0);
        }
        let [end, call @ ..] = &words[..] else {
            bail!("no end");
        };
        Ok(Self::On(end.parse()?, place, parse_call(call)?))
    }
}

fn parse_call(words: &[&str]) -> Result<Call> {
    Ok(match *words {
        ["send", size, ref rest @ ..] => {
            let (by, flags) = transfer(rest)?;
            Call::Send(size.parse()?, by, flags)
        }
        ["recv", size, ref rest @ ..] => {
            let (by, flags) = transfer(rest)?;
            Call::Recv(size.parse()?, by, flags)
        }
        ["shut", way] => Call::Shut(way.parse()?),
        ["set", opt, value] => Call::Set(opt.parse()?, value.parse()?),
        ["get", opt] => Call::Get(opt.parse()?),
        ["watch", watch] => Call::Watch(watch.parse()?),
        ["signal", "restart"] => Call::Signal(true),
        ["connect", size] => Call::Connect(size.parse()?),
        [word] => simple(word).with_context(|| format!("no call {word:?}"))?,
        _ => bail!("no call {words:?}"),
    })
}

fn transfer(words: &[&str]) -> Result<(By, Vec<Flag>)> {
    let mut by = By::Plain;
    let mut flags = Vec::new();
    for word in words {
        match word.strip_prefix("by=") {
            Some(way) => by = way.parse()?,
            None => flags.push(word.parse()?),
        }
    }
    Ok((by, flags))
}

/// Calls of one word, which is the one they are printed as.
fn simple(word: &str) -> Option<Call> {
    const SIMPLE: [Call; 23] = [
        Call::Fill,
        Call::Drain,
        Call::Close,
        Call::Reset,
        Call::Inq,
        Call::Outq,
        Call::Mark,
        Call::Info,
        Call::Counters,
        Call::Poll,
        Call::Pollin,
        Call::Select,
        Call::Rearm,
        Call::Events,
        Call::Wait,
        Call::Block,
        Call::Nonblock,
        Call::Dup,
        Call::Pass,
        Call::Signal(false),
        Call::Disconnect,
        Call::Connect(0),
        Call::Accept,
    ];
    SIMPLE.into_iter().find(|call| call.to_string() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::{generate, suite};

    #[test]
    fn read_back_as_printed() {
        let fixed = suite::all().map(|(_, text)| text.parse().unwrap());
        for scenario in fixed.chain((0..2000).map(generate::scenario)) {
            let again: Scenario = scenario.to_string().parse().unwrap();
            assert_eq!(again, scenario);
        }
    }

    #[test]
    fn no_step_is_guessed() {
        for text in [
            "a",
            "c send 1",
            "a send",
            "a send x",
            "a recv 1 by=x",
            "a set nodelay",
            "hold a poll",
        ] {
            assert!(text.parse::<Scenario>().is_err(), "{text}");
        }
    }
}
