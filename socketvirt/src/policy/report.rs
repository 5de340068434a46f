//! What is wrong with a policy, as an operator reads it: file, line, column, the
//! text itself, and what is allowed there.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A policy could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file.
    #[error("reading the policy {path} failed: {source}; name a file that can be read")]
    Read {
        /// Where it is.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// What it says.
    #[error("{0}")]
    Wrong(Report),
}

/// A complaint about a part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The part, as bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do, when the message does not say so.
    pub help: Option<String>,
}

impl Complaint {
    /// One without help.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            help: None,
        }
    }

    /// The same, with help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All complaints about a policy.
#[derive(Debug)]
pub struct Report {
    name: String,
    text: String,
    complaints: Vec<Complaint>,
}

impl Report {
    /// Those about the text of a file.
    #[must_use]
    pub fn new(path: &Path, text: &str, complaints: Vec<Complaint>) -> Self {
        Self {
            name: path.display().to_string(),
            text: text.to_owned(),
            complaints,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy {} is not applied", self.name)?;
        for complaint in &self.complaints {
            let Range { start, end } = complaint.span.clone();
            let end = end.min(self.text.len());
            let span = start.min(end)..end;
            let mut group = Level::ERROR.primary_title(&complaint.message).element(
                Snippet::source(&self.text)
                    .path(&self.name)
                    .annotation(AnnotationKind::Primary.span(span)),
            );
            if let Some(help) = &complaint.help {
                group = group.element(Level::HELP.message(help));
            }
            write!(f, "\n{}", Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}
