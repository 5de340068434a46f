//! Names that programs choose: of commands and of Unix sockets, which may hold
//! any byte. On a terminal each is shown so that it breaks no row, moves no
//! cursor, and is like no other name.

use std::fmt::Write as _;

use serde::Serialize;
use socketvirt_common::record::{
    row::{ADDRESS_TEXT, NAME_LENGTH},
    text::Text,
};

/// The name of a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Name {
    /// As text, as `ss` shows it: `@` begins one that is not in the file system.
    pub address: String,
    /// Every byte of it in hexadecimal, where the text does not tell them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_hex: Option<String>,
}

impl Name {
    /// Reads the name that a row holds.
    #[must_use]
    pub fn of_unix(text: &Text<ADDRESS_TEXT>) -> Self {
        let bytes: Vec<u8> = text.iter().map(|byte| byte.cast_unsigned()).collect();
        let length = usize::from(bytes[NAME_LENGTH]);
        let is_abstract = length != 0;
        let end = if is_abstract {
            length.min(NAME_LENGTH)
        } else {
            let end = bytes.iter().position(|byte| *byte == 0);
            end.unwrap_or(NAME_LENGTH)
        };
        let name = &bytes[..end];
        let is_exact = str::from_utf8(name).is_ok() && (is_abstract || name.first() != Some(&b'@'));
        Self {
            address: String::from_utf8_lossy(name).into_owned(),
            address_hex: (!is_exact).then(|| hex(name, is_abstract)),
        }
    }

    /// An address that the table has made itself.
    #[must_use]
    pub fn of_address(address: String) -> Self {
        Self {
            address,
            address_hex: None,
        }
    }

    /// For a terminal.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some(bytes) = self.address_hex.as_deref().map(from_hex) else {
            return escape(self.address.as_bytes());
        };
        match bytes.split_first() {
            Some((0, rest)) => format!("@{}", escape(rest)),
            // A file's name, and no name outside the file system.
            Some((b'@', rest)) => format!("\\x40{}", escape(rest)),
            _ => escape(&bytes),
        }
    }
}

fn hex(name: &[u8], is_abstract: bool) -> String {
    let first = name.first().map(|byte| if is_abstract { 0 } else { *byte });
    let bytes = first.into_iter().chain(name.iter().skip(1).copied());
    bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A name for a terminal. What is not printable is `\x` and two digits for each
/// byte, a backslash is two. So is a space that could be taken for the gap
/// between two columns: the first, the last, and one beside another.
#[must_use]
pub fn escape(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => shown.push_str("\\\\"),
                ' ' if shown.is_empty() || shown.ends_with(' ') => hide(&mut shown, b" "),
                _ if is_printable(letter) => shown.push(letter),
                _ => hide(&mut shown, letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        hide(&mut shown, chunk.invalid());
    }
    if shown.ends_with(' ') {
        shown.pop();
        hide(&mut shown, b" ");
    }
    shown
}

/// Neither a control character nor one that changes how others are shown.
fn is_printable(letter: char) -> bool {
    // `escape_debug` knows Unicode's tables, and escapes quotes as well.
    matches!(letter, '\'' | '"') || letter.escape_debug().count() == 1
}

fn hide(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &[u8], is_abstract: bool) -> Text<ADDRESS_TEXT> {
        let mut text = [0_i8; ADDRESS_TEXT];
        for (to, from) in text.iter_mut().zip(name) {
            *to = from.cast_signed();
        }
        if is_abstract {
            text[NAME_LENGTH] = i8::try_from(name.len()).unwrap();
        }
        text
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        for (name, shown) in [
            (&b"nginx"[..], "nginx"),
            (b"a\x1b[31mb", "a\\x1b[31mb"),
            (b"a\nb\tc\rd\0e", "a\\x0ab\\x09c\\x0dd\\x00e"),
            (b"a\\x1b", "a\\\\x1b"),
            (b"\xff\xc3\xa9", "\\xff\u{e9}"),
            // C1, a mark that turns the text around, a line separator.
            ("\u{9b}1m".as_bytes(), "\\xc2\\x9b1m"),
            ("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb"),
            ("a\u{2028}b".as_bytes(), "a\\xe2\\x80\\xa8b"),
            (b"Web Content", "Web Content"),
            (b" a  b ", "\\x20a \\x20b\\x20"),
            (b"'quoted\"", "'quoted\""),
            (b"", ""),
        ] {
            assert_eq!(escape(name), shown);
            assert!(!shown.contains("  ") && !shown.contains(char::is_control));
        }
    }

    /// Each name is shown in its own way.
    #[test]
    fn names_stay_apart() {
        let names: Vec<Name> = [
            (&b"@a\0b"[..], true),
            (b"@a\0c", true),
            (b"@a", true),
            (b"@a\0", true),
            (b"@a", false),
            (b"@", true),
            (b"\xff", false),
            (b"\xfe", false),
            (b"\\xff", false),
            (b"@\xff", true),
            (b"@\xff", false),
            ("\u{fffd}".as_bytes(), false),
            (b"", false),
        ]
        .into_iter()
        .map(|(name, is_abstract)| Name::of_unix(&row(name, is_abstract)))
        .collect();
        for (index, name) in names.iter().enumerate() {
            for other in &names[index + 1..] {
                assert_ne!(name.shown(), other.shown());
                assert_ne!(name, other);
            }
        }
        assert_eq!(names[0].shown(), "@a\\x00b");
        assert_eq!(names[0].address, "@a\0b");
        assert_eq!(names[2].shown(), "@a");
        assert_eq!(names[4].shown(), "\\x40a");
        assert_eq!(names[4].address_hex.as_deref(), Some("4061"));
        assert_eq!(names[9].address_hex.as_deref(), Some("00ff"));
    }
}
