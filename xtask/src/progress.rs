//! The progress of a command, on standard error, so that standard output holds results alone.

use std::{
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;

/// Escape sequences, or nothing where the stream is no terminal.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colours: bool,
}

impl Style {
    /// For results.
    pub fn stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    /// For progress.
    pub fn stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// Without colours.
    pub const fn plain() -> Self {
        Self { colours: false }
    }

    /// Honours <https://no-color.org>.
    fn of(terminal: bool) -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: terminal && !refused,
        }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what is good.
    pub fn green(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    /// For what is bad.
    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A step that begins.
pub fn step(text: &str) {
    let style = Style::stderr();
    eprintln!("{} {}", style.green("==>"), style.bold(text));
}

/// Something within a step: skipped, found, or done.
pub fn note(text: &str) {
    eprintln!("    {text}");
}

/// The reason why a command failed.
pub fn error(text: &str) {
    eprintln!("{} {text}", Style::stderr().red("error:"));
}

/// The exit status of a command, whose failure is told.
pub fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error(&format!("{reason:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `75 s` or `12 min 05 s`.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 120 {
        format!("{seconds} s")
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}
