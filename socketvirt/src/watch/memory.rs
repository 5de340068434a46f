//! Memory pressure of TCP.
//!
//! A redirect that the receiver cannot be charged for fails with `ENOMEM`,
//! also for a blocking sender (`bpf_tcp_ingress`); the stack would wait. So
//! nothing is redirected while memory is short.

use std::fs;

/// True when TCP uses more pages than the pressure mark of `tcp_mem`
/// (Documentation/networking/ip-sysctl.rst).
#[must_use]
pub fn tcp_is_short() -> bool {
    let used = fs::read_to_string("/proc/net/sockstat")
        .ok()
        .and_then(|text| used_pages(&text));
    let limit = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem")
        .ok()
        .and_then(|text| pressure_pages(&text));
    matches!((used, limit), (Some(used), Some(limit)) if used >= limit)
}

/// The word behind `mem` in the line `TCP:`. `procfs` does not read this file.
fn used_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|&word| word == "mem")?;
    words.next()?.parse().ok()
}

/// The middle one of three numbers.
fn pressure_pages(tcp_mem: &str) -> Option<u64> {
    tcp_mem.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        let sockstat =
            "sockets: used 40\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 12\nUDP: inuse 1 mem 3\n";
        assert_eq!(used_pages(sockstat), Some(12));
        assert_eq!(pressure_pages("280000\t380000\t560000\n"), Some(380_000));
        assert_eq!(used_pages("UDP: inuse 1 mem 3\n"), None);
    }
}
