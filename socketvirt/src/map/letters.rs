//! The room that text takes, without the font that it will be drawn in: what is said is
//! rather more than less.

/// The part of the font's size that a letter is wide.
fn width(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.36,
        'f' | 'r' | 't' | ' ' | '(' | ')' | '[' | ']' | '-' | '/' | '\\' | '"' | '·' => 0.46,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 1.02,
        'A'..='Z' | '×' | '→' => 0.78,
        ' '..='~' => 0.64,
        _ => 1.1,
    }
}

/// The width of a text in a font of this size.
#[must_use]
pub fn wide(text: &str, size: f64) -> f64 {
    text.chars().map(width).sum::<f64>() * size
}

/// Cuts a text to this width; `…` says that it was cut.
#[must_use]
pub fn cut(text: &str, size: f64, room: f64) -> String {
    if wide(text, size) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = width('…') * size;
    for letter in text.chars() {
        used += width(letter) * size;
        if used > room {
            break;
        }
        cut.push(letter);
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(cut("nginx ×4", 13.0, 100.0), "nginx ×4");
        for text in [
            "WWWWWWWWWWWWWWWWWWWW",
            "漢字漢字漢字漢字漢字",
            "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii",
        ] {
            let cut = cut(text, 13.0, 100.0);
            assert!(cut.ends_with('…') && wide(&cut, 13.0) <= 100.0, "{cut}");
        }
    }
}
