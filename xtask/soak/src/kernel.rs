//! The kernel's memory: that which only it can give back, and buffers of TCP.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Growth while traffic runs that no traffic of a soak explains.
const BUSY_KB: u64 = 1 << 20;

/// Growth that may be left once all has ended; the machine's other programs have a part in it.
const IDLE_KB: u64 = 96 << 10;

/// In KB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// `SUnreclaim`: sockets, their messages, BPF storage.
    pub slab: u64,
    /// `VmallocUsed`: tables of BPF maps.
    pub vmalloc: u64,
    /// `Percpu`: counters of BPF maps.
    pub percpu: u64,
    /// Buffers of TCP, from `/proc/net/sockstat`.
    pub tcp: u64,
}

impl Kernel {
    pub fn now() -> Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
        let sockets =
            fs::read_to_string("/proc/net/sockstat").context("reading /proc/net/sockstat")?;
        Ok(Self::parse(&memory, &sockets))
    }

    fn parse(memory: &str, sockets: &str) -> Self {
        let field = |name: &str| {
            memory
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .unwrap_or(0)
        };
        let pages: u64 = sockets
            .lines()
            .find(|line| line.starts_with("TCP:"))
            .and_then(|line| line.rsplit_once(" mem ")?.1.trim().parse().ok())
            .unwrap_or(0);
        Self {
            slab: field("SUnreclaim:"),
            vmalloc: field("VmallocUsed:"),
            percpu: field("Percpu:"),
            tcp: pages * 4,
        }
    }

    pub fn grown_since(self, before: Self) -> Self {
        Self {
            slab: self.slab.saturating_sub(before.slab),
            vmalloc: self.vmalloc.saturating_sub(before.vmalloc),
            percpu: self.percpu.saturating_sub(before.percpu),
            tcp: self.tcp.saturating_sub(before.tcp),
        }
    }

    /// Of the growth while traffic runs: what is too much.
    pub fn too_much_at_work(self) -> Option<String> {
        self.beyond(BUSY_KB)
    }

    /// Of the growth after all has ended.
    pub fn too_much_at_rest(self) -> Option<String> {
        self.beyond(IDLE_KB)
    }

    fn beyond(self, bound: u64) -> Option<String> {
        let Self {
            slab,
            vmalloc,
            percpu,
            tcp,
        } = self;
        let most = slab.max(vmalloc).max(percpu).max(tcp);
        (most > bound).then(|| format!("kernel memory grew beyond {bound} KB: {self}"))
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            slab,
            vmalloc,
            percpu,
            tcp,
        } = self;
        write!(
            f,
            "slab +{slab} KB, vmalloc +{vmalloc} KB, per-CPU +{percpu} KB, TCP buffers +{tcp} KB"
        )
    }
}

/// Sockets of this namespace in `TIME_WAIT`.
pub fn time_wait() -> Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat").context("reading /proc/net/sockstat")?;
    Ok(waiting(&sockets))
}

fn waiting(sockets: &str) -> u64 {
    sockets
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.split_once(" tw ")?.1.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_what_was_there() {
        let sockets = |pages| {
            format!(
                "sockets: used 64\nTCP: inuse 5 orphan 0 tw 1 alloc 5 mem {pages}\nUDP: inuse 0 mem 7\n"
            )
        };
        assert_eq!(waiting(&sockets(10)), 1);
        let memory = |slab| {
            format!("SReclaimable: 1 kB\nSUnreclaim:  {slab} kB\nVmallocUsed: 9 kB\nPercpu: 8 kB\n")
        };
        let before = Kernel::parse(&memory(1000), &sockets(10));
        let after = Kernel::parse(&memory(1000 + IDLE_KB + 1), &sockets(12));
        let grown = after.grown_since(before);
        assert_eq!((grown.slab, grown.tcp, grown.vmalloc), (IDLE_KB + 1, 8, 0));
        assert!(grown.too_much_at_rest().is_some());
        assert_eq!(grown.too_much_at_work(), None);
    }
}
