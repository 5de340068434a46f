//! A reader that stands still stops its sender as with plain TCP: at a similar
//! amount, in the same way, at a bounded cost; and nothing is lost over it.

use serde_json::Value;
use socketvirt_tests::{
    run::{Mode, Run, begun},
    session::Session,
};

/// Kernel memory beyond plain TCP's that a stopped connection may cost.
const ALLOWANCE_KIB: i64 = 48 << 10;

/// The measurements of the workload.
#[derive(Debug)]
struct Standstill {
    stopped: bool,
    sent: u64,
    tcp_kib: i64,
    slab_kib: i64,
}

fn standstill(mode: Mode, args: &str) -> Standstill {
    let args = format!("backpressure {args}");
    let outcome = Run::new(mode, begun(mode, &args)).success();
    let line = outcome
        .finished
        .stdout
        .lines()
        .find(|l| l.contains("stopped"))
        .expect("a report")
        .to_owned();
    let report: Value = serde_json::from_str(&line).expect("JSON");
    if mode != Mode::Plain {
        outcome.summary().accelerated();
    }
    Standstill {
        stopped: report["stopped"].as_bool().expect("stopped"),
        sent: report["sent"].as_u64().expect("sent"),
        tcp_kib: report["tcp_kib"].as_i64().expect("tcp_kib"),
        slab_kib: report["slab_kib"].as_i64().expect("slab_kib"),
    }
}

fn like_plain(modes: &[Mode], args: &str) {
    let _session = Session::start();
    let plain = standstill(Mode::Plain, args);
    assert!(plain.stopped, "{args}: plain TCP did not stop: {plain:?}");
    for &mode in modes {
        let (mut fast, memory) = (
            standstill(mode, args),
            plain.tcp_kib.max(0) * 3 + ALLOWANCE_KIB,
        );
        let context = |fast: &Standstill| format!("{args}: plain {plain:?}, {mode} {fast:?}");
        assert!(
            fast.stopped,
            "the sender was not stopped: {}",
            context(&fast)
        );
        assert!(
            fast.sent * 10 >= plain.sent * 3,
            "stopped too early: {}",
            context(&fast)
        );
        assert!(
            fast.sent <= plain.sent * 3,
            "stopped too late: {}",
            context(&fast)
        );
        // The whole machine's memory is measured: what others take in passing
        // does not come again.
        for _ in 0..2 {
            if fast.tcp_kib > memory || fast.slab_kib > ALLOWANCE_KIB {
                fast = standstill(mode, args);
            }
        }
        assert!(
            fast.tcp_kib <= memory,
            "too much TCP memory: {}",
            context(&fast)
        );
        assert!(
            fast.slab_kib <= ALLOWANCE_KIB,
            "too much kernel memory: {}",
            context(&fast)
        );
    }
}

const EAGER: &[Mode] = &[Mode::Eager];
const BOTH: &[Mode] = &Mode::ACCELERATED;

#[test]
fn single_bytes() {
    like_plain(BOTH, "--message 1 --until-fast");
}

#[test]
fn single_bytes_blocking() {
    like_plain(EAGER, "--message 1 --blocking --until-fast");
}

#[test]
fn small_messages() {
    like_plain(BOTH, "--message 100 --until-fast");
}

#[test]
fn pages() {
    like_plain(BOTH, "--message 4096 --until-fast --connections 8");
}

#[test]
fn pages_blocking() {
    like_plain(
        EAGER,
        "--message 4096 --blocking --until-fast --connections 8",
    );
}

#[test]
fn large_blocks() {
    like_plain(BOTH, "--message 65536 --until-fast --connections 2");
}

#[test]
fn large_blocks_blocking() {
    like_plain(
        EAGER,
        "--message 262144 --blocking --until-fast --connections 2",
    );
}

#[test]
fn small_buffers() {
    like_plain(
        BOTH,
        "--message 1000 --until-fast --connections 4 --rcvbuf 32768 --sndbuf 32768",
    );
}

/// Nothing was ever exchanged: the first bytes are those that fill the queue.
#[test]
fn from_the_first_byte() {
    like_plain(EAGER, "--message 4096 --connections 2");
}
