//! The kernel's memory, as far as it tells.

use std::{fmt, fs};

use anyhow::{Context as _, Result};
use procfs::{Current as _, Meminfo};

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
        let memory = Meminfo::current()?;
        let kib = |bytes: u64| i64::try_from(bytes / 1024);
        Ok(Self {
            // In pages of 4 KiB.
            tcp: tcp_pages(&sockstat)? * 4,
            slab: kib(memory.s_unreclaim.context("no SUnreclaim")?)?,
            available: kib(memory.mem_free)?,
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

/// The number after `mem` in the line of TCP. `procfs` does not read this file.
fn tcp_pages(sockstat: &str) -> Result<i64> {
    let mut lines = sockstat.lines();
    let line = lines.find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| {
        line.split_whitespace()
            .skip_while(|word| *word != "mem")
            .nth(1)
    });
    let pages = pages.context("no memory of TCP in /proc/net/sockstat")?;
    pages.parse().context("the memory of TCP")
}
