//! Numbers in few letters.

/// The steps of units.
const STEPS: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// More than any host carries.
const MOST: f64 = 999e15;

/// A number of four letters at most, and the letter of its unit: `0`, `7.4`, `912`,
/// `1.2k`, `304k`, `1.5G`.
#[must_use]
pub fn short(number: f64) -> String {
    if !number.is_finite() || number <= 0.0 {
        return "0".to_owned();
    }
    let (mut number, mut step) = (number.min(MOST), 0);
    // What would be rounded up to 1000 belongs to the next unit.
    while number >= 999.5 && step + 1 < STEPS.len() {
        number /= 1000.0;
        step += 1;
    }
    let unit = STEPS[step];
    match number {
        ..0.05 => "~0".to_owned(),
        ..9.95 => {
            let text = format!("{number:.1}");
            format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
        }
        _ => format!("{number:.0}{unit}"),
    }
}

/// Bytes a second, with the unit: `1.2 MB/s`.
#[must_use]
pub fn bytes(a_second: f64) -> String {
    let short = short(a_second);
    match short.strip_suffix(|last: char| last.is_ascii_alphabetic()) {
        Some(number) => format!("{number} {}B/s", &short[number.len()..]),
        None => format!("{short} B/s"),
    }
}

/// A share in percent: `93%`, `>99%`, `<1%`, `-` for none.
#[must_use]
pub fn share(share: Option<f64>) -> String {
    let Some(share) = share else {
        return "-".to_owned();
    };
    match share * 100.0 {
        ..=0.0 => "0%".to_owned(),
        ..0.5 => "<1%".to_owned(),
        100.0.. => "100%".to_owned(),
        99.5.. => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// Cuts a text to `width` letters; `…` says that it was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Rounds for JSON: a tenth is more than a rate can be known to.
#[must_use]
pub fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_five_letters_at_most() {
        for (number, shown) in [
            (0.0, "0"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
            (-3.0, "0"),
            (0.01, "~0"),
            (0.2, "0.2"),
            (7.0, "7"),
            (9.96, "10"),
            (999.4, "999"),
            (999.9, "1k"),
            (1234.0, "1.2k"),
            (304_323.0, "304k"),
            (1.5e9, "1.5G"),
            (1e30, "999P"),
        ] {
            assert_eq!(short(number), shown);
        }
        assert_eq!(bytes(1.2e6), "1.2 MB/s");
        assert_eq!(bytes(12.0), "12 B/s");
    }

    #[test]
    fn a_share_is_all_or_nothing_only_when_it_is() {
        let shown = [
            None,
            Some(0.0),
            Some(0.001),
            Some(0.5),
            Some(0.9999),
            Some(1.0),
        ]
        .map(share);
        assert_eq!(shown, ["-", "0%", "<1%", "50%", ">99%", "100%"]);
    }

    #[test]
    fn a_cut_is_seen_and_never_within_a_letter() {
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größer", 4), "grö…");
        assert_eq!(cut("größer", 0), "");
    }
}
