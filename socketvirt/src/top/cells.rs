//! The columns, and what stands in them.

use crate::traffic::{
    pairs::{Pair, Side},
    units,
};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The end that has connected.
    Client,
    /// The end that was connected to.
    Server,
    /// Bytes a second.
    Bytes,
    /// Messages a second.
    Messages,
    /// Round trips a second.
    Trips,
    /// The share of the fast path.
    Fast,
    /// The path.
    Path,
    /// The reason that it is not fast.
    Why,
}

impl Column {
    /// Its title.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Client => "CLIENT",
            Self::Server => "SERVER",
            Self::Bytes => "BYTES/s",
            Self::Messages => "MSGS/s",
            Self::Trips => "TRIPS/s",
            Self::Fast => "FAST",
            Self::Path => "PATH",
            Self::Why => "WHY NOT",
        }
    }

    /// True for numbers, which stand on the right.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Self::Bytes | Self::Messages | Self::Trips | Self::Fast
        )
    }

    /// The text of a pair, in so many letters at most.
    #[must_use]
    pub fn cell(self, pair: &Pair, width: usize) -> String {
        let text = match self {
            Self::Client => end(&pair.client, width, false),
            Self::Server => end(&pair.server, width, true),
            Self::Bytes => units::short(pair.bytes_per_s),
            Self::Messages => units::short(pair.messages_per_s),
            Self::Trips => units::short(pair.round_trips_per_s),
            Self::Fast => units::share(pair.fast_share),
            Self::Path => pair.path.to_owned(),
            Self::Why => why(pair, width),
        };
        units::cut(&text, width)
    }
}

/// The columns of a screen with their widths. What it has no room for is left out.
#[must_use]
pub fn columns(width: usize) -> Vec<(Column, usize)> {
    let trips = if width < NARROW { 0 } else { 8 };
    let numbers = [
        (Column::Bytes, 7),
        (Column::Messages, 6),
        (Column::Trips, trips),
        (Column::Fast, 4),
        (Column::Path, 5),
    ];
    let numbers = || numbers.into_iter().filter(|(_, width)| *width > 0);
    let taken: usize = numbers().map(|(_, width)| width + GAP).sum();
    let rest = width.saturating_sub(taken + 2 * GAP);
    let why = if rest < 40 {
        0
    } else {
        (rest * 3 / 10).max(14)
    };
    let end = (rest - why) / 2;
    let mut columns = vec![(Column::Client, end), (Column::Server, end)];
    columns.extend(numbers());
    if why > 0 {
        columns.push((Column::Why, why));
    }
    columns
}

/// Between two columns.
pub const GAP: usize = 1;

/// A screen that is narrower has no room for round trips.
const NARROW: usize = 100;

/// The longest form of an end that fits. A client's port says least, a server's most.
fn end(side: &Side, width: usize, is_server: bool) -> String {
    let (process, address) = (side.process(), &side.end.address);
    let port = if is_server {
        format!(" :{}", side.end.port)
    } else {
        String::new()
    };
    let place = match side.place.as_str() {
        "-" | "/" => String::new(),
        place => format!(" [{place}]"),
    };
    let forms = [
        format!("{process} {address}{place}"),
        format!("{process} {address}"),
        format!("{process}{port}"),
    ];
    let fits = |form: &&String| form.chars().count() <= width;
    if let Some(form) = forms.iter().find(fits) {
        return form.clone();
    }
    let name = process.split('(').next().unwrap_or_default();
    units::cut(name, width.saturating_sub(port.len())) + &port
}

/// The reason in words where there is room for some, or else its word.
fn why(pair: &Pair, width: usize) -> String {
    match pair.reason {
        "none" => String::new(),
        reason if width < 24 => reason.to_owned(),
        _ => pair.why_not.replace('`', ""),
    }
}
