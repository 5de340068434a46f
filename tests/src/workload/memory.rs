//! What the kernel spends, as far as it tells.

use std::{fmt, fs};

use anyhow::{Context as _, Result};

/// KiB at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    tcp: i64,
    slab: i64,
    available: i64,
}

impl Memory {
    pub(crate) fn now() -> Result<Self> {
        let sockstat = fs::read_to_string("/proc/net/sockstat").context("/proc/net/sockstat")?;
        let meminfo = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        Ok(Self {
            // In pages of 4 KiB.
            tcp: number(&sockstat, "TCP:", "mem")? * 4,
            slab: number(&meminfo, "SUnreclaim:", "SUnreclaim:")?,
            available: number(&meminfo, "MemFree:", "MemFree:")?,
        })
    }

    pub(crate) fn since(self, before: Self) -> impl fmt::Display {
        format!(
            r#""tcp_kib":{},"slab_kib":{},"used_kib":{}"#,
            self.tcp - before.tcp,
            self.slab - before.slab,
            before.available - self.available
        )
    }
}

/// The number after `word` in the line that starts with `line`.
fn number(text: &str, line: &str, word: &str) -> Result<i64> {
    let line = text
        .lines()
        .find(|l| l.starts_with(line))
        .with_context(|| format!("no line {line}"))?;
    let mut words = line.split_whitespace().skip_while(|w| *w != word).skip(1);
    let value = words
        .next()
        .with_context(|| format!("no {word} in {line}"))?;
    value.parse().with_context(|| format!("{word} in {line}"))
}
