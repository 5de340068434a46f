use xtask::progress::Style;

use super::*;
use crate::deployment::PLAIN;

static TRIED: Deployment = Deployment {
    name: "tried",
    what: "a server and a client",
    ..PLAIN
};

const SAID: &str = "socketvirt: mode adopt, receive mode unified\n  pairs      4 seen, 2 accelerated, 1 released\n  \
    bytes      128 fast, 61 stack (67.9% fast)\n  messages   60 fast, 40 stack (60.0% fast)\n  \
    left on the stack: blocking 90, too_short 8, unread 2\n";

fn report(accelerated: f64) -> Report {
    let mut row = Row::new(&TRIED);
    for round in 0..6 {
        let noise = f64::from(round) / 1000.0;
        let measured = |rate: f64| Measured {
            rate: rate * (1.0 + noise),
            cpu_us: 1e6 / rate,
        };
        row.add(Side::Plain, measured(1000.0));
        row.add(Side::Accelerated, measured(accelerated));
    }
    row.fast.add(SAID).expect("a summary");
    row.kept.add_ended(SAID);
    let mut report = Report::default();
    report.add(row);
    report
}

#[test]
fn ratio_share_and_reasons_are_told() {
    let report = report(1500.0);
    let line = &report.deployments[0];
    assert!((line.ratio.median - 1.5).abs() < 1e-9);
    assert!((line.by_cpu.median - 1.5).abs() < 1e-9);
    assert_eq!(
        line.fast.deeds.messages,
        ByPath {
            fast: 60,
            stack: 40
        }
    );
    let text = report.text(Style::plain());
    assert!(text.contains("1.50x (1.50 to 1.50)"), "{text}");
    // A hundred sockets have ended, and 40 messages of them were counted.
    assert!(text.contains("37.5%  blocking, too_short"), "{text}");
    // Two of a hundred explain nothing.
    assert!(!text.contains("unread"), "{text}");
    assert!(text.contains("-> Make the socket non-blocking."), "{text}");
    assert!(!text.contains("slower"), "{text}");
    let page = report.markdown();
    assert!(
        page.contains("| a server and a client | 37.5% | 1.50x"),
        "{page}"
    );
    assert!(report.check().is_ok());
}

#[test]
fn slower_ones_are_named() {
    let text = report(980.0).text(Style::plain());
    assert!(text.contains("slower when accelerated: tried"), "{text}");
    let text = report(995.0).text(Style::plain());
    assert!(!text.contains("slower"), "{text}");
}

#[test]
fn a_deployment_without_a_round_is_left_out() {
    let mut report = Report::default();
    report.add(Row::new(&TRIED));
    assert!(report.deployments.is_empty());
    assert!(report.text(Style::plain()).contains("tried: left out"));
    assert!(report.check().is_err());
}

#[test]
fn errors_of_the_data_path_fail_the_command() {
    let mut row = Row::new(&TRIED);
    let measured = Measured {
        rate: 1.0,
        cpu_us: 1.0,
    };
    row.add(Side::Plain, measured);
    row.add(Side::Accelerated, measured);
    row.fast
        .add(&format!("{SAID}  errors: packets_lost 1\n"))
        .expect("a summary");
    let mut report = Report::default();
    report.add(row);
    assert!(report.check().is_err());
}
