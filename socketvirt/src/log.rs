//! What the agent tells while it works: events of `tracing`, as lines on standard
//! error.
//!
//! As text, an event is its message, behind the name of the program. As JSON it is an
//! object with `timestamp`, `level`, `message` and its fields. The level can be changed
//! while the program runs.

use std::{
    fmt::{self, Write as _},
    str::FromStr as _,
    sync::OnceLock,
    time::SystemTime,
};

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry,
    reload::{self, Handle},
};

use crate::output;

/// The form of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// The level, once there is one.
static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// There is no such level.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no level: use off, error, warn, info, debug or trace")]
pub struct NoLevel(String);

/// Reads the name of a level.
///
/// # Errors
/// When there is none of that name.
pub fn level(word: &str) -> Result<LevelFilter, NoLevel> {
    // A number would be one too.
    let is_word = word.chars().all(|c| c.is_ascii_lowercase());
    let found = LevelFilter::from_str(word).ok().filter(|_| is_word);
    found
        .filter(|_| !word.is_empty())
        .ok_or_else(|| NoLevel(word.to_owned()))
}

/// Begins to print what is told, up to this level. The first call holds.
pub fn start(level: LevelFilter, format: Format) {
    let (filter, handle) = reload::Layer::new(level);
    let subscriber = registry().with(filter).with(Lines(format));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // It is the first, as the subscriber is.
        let _ = LEVEL.set(handle);
    }
}

/// Changes the level, from the next event on. Returns false before [`start`].
pub fn set_level(level: LevelFilter) -> bool {
    LEVEL
        .get()
        .is_some_and(|handle| handle.reload(level).is_ok())
}

/// Prints events.
struct Lines(Format);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Libraries have events of their own, which are not for the operator.
        if !event.metadata().target().starts_with("socketvirt") {
            return;
        }
        let mut found = Found::default();
        event.record(&mut found);
        let line = match self.0 {
            Format::Text => found.text(),
            Format::Json => found.json(*event.metadata().level()) + "\n",
        };
        output::tell(format_args!("{line}"));
    }
}

/// The message of an event, and its fields.
#[derive(Default)]
struct Found {
    message: String,
    fields: Map<String, Value>,
}

impl Found {
    /// The message, and the fields but those that it has in words.
    fn text(self) -> String {
        let mut line = format!("socketvirt: {}", self.message);
        for (name, value) in &self.fields {
            if !value.is_object() {
                let _ = write!(line, " {name}={value}");
            }
        }
        line + "\n"
    }

    fn json(self, level: Level) -> String {
        let mut line = self.fields;
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        line.insert("timestamp".into(), now.to_string().into());
        line.insert("level".into(), level.as_str().to_lowercase().into());
        line.insert("message".into(), self.message.into());
        Value::Object(line).to_string()
    }
}

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            // What is JSON already stays so.
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        for word in ["off", "error", "warn", "info", "debug", "trace"] {
            assert_eq!(level(word).unwrap().to_string(), word);
        }
        for word in ["", "3", "verbose", "INFO"] {
            let error = level(word).unwrap_err().to_string();
            assert!(error.contains("debug or trace"), "{error}");
        }
    }

    #[test]
    fn a_line_of_text_has_what_the_message_has_not() {
        let fields = [
            ("pairs", Value::from(3)),
            ("summary", Value::Object(Map::new())),
        ];
        let found = Found {
            message: "words".into(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
        };
        assert_eq!(found.text(), "socketvirt: words pairs=3\n");
    }

    #[test]
    fn a_line_of_json_has_the_fields() {
        let found = Found {
            message: "two\nlines".into(),
            fields: [("pairs".to_owned(), Value::from(3))].into_iter().collect(),
        };
        let line: Value = serde_json::from_str(&found.json(Level::WARN)).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["pairs"], 3);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
