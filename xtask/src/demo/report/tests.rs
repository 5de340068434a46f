use test_support::summary::ByPath;
use xtask::progress::Style;

use super::*;

fn measured(requests_per_second: f64) -> Measured {
    Measured {
        requests_per_second,
        p50_us: 1e6 / requests_per_second,
    }
}

/// A row of three rounds.
fn good(plain: [f64; 3], accelerated: [f64; 3]) -> Report {
    let mut report = Report {
        rounds: 3,
        ..Report::default()
    };
    let row = (Place::Containers, Load::RedisSet);
    for (plain, accelerated) in plain.into_iter().zip(accelerated) {
        report.add(row, Side::Plain, measured(plain));
        report.add(row, Side::Accelerated, measured(accelerated));
    }
    report.fast.deeds.bytes = ByPath {
        fast: 900,
        stack: 100,
    };
    report
}

fn faster() -> Report {
    good([30e3, 32e3, 40e3], [60e3, 48e3, 84e3])
}

#[test]
fn rounds_are_compared_with_themselves() {
    let report = faster();
    let rows = report.rows();
    assert_eq!(rows.len(), 1);
    assert!((rows[0].plain.requests_per_second - 32e3).abs() < 1e-6);
    assert!((rows[0].accelerated.requests_per_second - 60e3).abs() < 1e-6);
    let Ratio {
        median,
        least,
        most,
    } = rows[0].ratio;
    assert!((least - 1.5).abs() < 1e-9 && (most - 2.1).abs() < 1e-9);
    assert!((median - 2.0).abs() < 1e-9);
    assert!(report.verdict().is_ok());
}

#[test]
fn text_has_the_ratio_its_spread_and_the_share() {
    for bars in [true, false] {
        let text = faster().layout(Style::plain(), bars);
        assert!(text.contains("2.00x (1.50 to 2.10)"), "{text}");
        assert!(text.contains("90.0% of the bytes"), "{text}");
        assert!(!text.contains("slower"), "{text}");
        assert_eq!(text.contains('█'), bars, "{text}");
    }
}

#[test]
fn a_slower_row_is_told() {
    let text = good([40e3; 3], [30e3; 3]).layout(Style::plain(), false);
    assert!(text.contains("SLOWER"), "{text}");
    // The machine wavers by more.
    let text = good([40e3; 3], [39e3; 3]).layout(Style::plain(), false);
    assert!(!text.contains("SLOWER"), "{text}");
}

#[test]
fn no_fast_byte_a_leftover_and_wrong_data_are_failures() {
    let mut report = faster();
    report.fast.deeds.bytes.fast = 0;
    assert!(report.verdict().is_err());
    let mut report = faster();
    report
        .leftovers
        .found
        .push("loaded: program 7 sv_msg".into());
    assert!(report.verdict().is_err());
    let mut report = faster();
    report.all_right = false;
    assert!(report.verdict().is_err());
    assert!(report.layout(Style::plain(), false).contains("WRONG"));
}

#[test]
fn json_has_the_verdict() -> Result<()> {
    let json: serde_json::Value = serde_json::from_str(&faster().json()?)?;
    assert_eq!(json["ok"], true);
    assert_eq!(json["rows"][0]["load"], "redis_set");
    assert_eq!(json["rows"][0]["place"], "containers");
    assert_eq!(json["agents"]["bytes"]["fast"], 900);
    Ok(())
}
