//! The features of this kernel.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{Seen, limited::run_limited};
use crate::report::Outcome;

/// Collects the features that decide how much socketvirt can do.
pub fn collect() -> Vec<(String, String)> {
    let feature = |name: &str, value: String| (name.to_owned(), value);
    vec![
        feature("release", line("/proc/sys/kernel/osrelease")),
        feature("lockdown", line("/sys/kernel/security/lockdown")),
        feature("BTF", there("/sys/kernel/btf/vmlinux")),
        feature("BPF JIT", line("/proc/sys/net/core/bpf_jit_enable")),
        feature("kprobes", kprobes()),
        feature("kTLS", there("/proc/net/tls_stat")),
    ]
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "none".into(), |text| text.trim().to_owned())
}

fn there(path: &str) -> String {
    let word = if Path::new(path).exists() {
        "yes"
    } else {
        "no"
    };
    word.into()
}

/// Tried, because lockdown refuses them where they are built in.
fn kprobes() -> String {
    const EVENTS: &str = "/sys/kernel/tracing/kprobe_events";
    match fs::write(EVENTS, "p:socketvirt/probe tcp_sendmsg\n") {
        Ok(()) => {
            // It was never on, and goes with the machine.
            let _ = fs::write(EVENTS, "");
            "yes".into()
        }
        Err(error) => format!("no: {error}"),
    }
}

/// Nothing that a kernel says when it has found a fault of its own.
pub fn kernel_log() -> Result<Seen> {
    const WORDS: [&str; 7] = [
        "WARNING:",
        "BUG:",
        "refcount_t",
        "Oops",
        "lockdep",
        "hung task",
        "blocked for more",
    ];
    let ended = run_limited(&mut std::process::Command::new("dmesg"), 20, |_| Ok(()))
        .context("reading the kernel's log")?;
    let found: Vec<_> = ended
        .lines
        .iter()
        .filter(|line| WORDS.iter().any(|word| line.contains(word)))
        .collect();
    Ok(match found.first() {
        Some(first) => {
            let detail = format!("{} complaints, first: {}", found.len(), first.trim());
            (Outcome::Failed, detail)
        }
        None => (Outcome::Works, "no fault is reported".into()),
    })
}
