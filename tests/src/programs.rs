//! Real programs from the distribution.

use std::path::PathBuf;

use tempfile::TempDir;
use test_support::command;
pub use test_support::ports::free as free_port;

use crate::process::must;

/// A folder with the program of this name, compiled from `data/`, with more words for
/// the compiler.
#[must_use]
#[track_caller]
pub fn compiled(name: &str, words: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let source = format!("{}/data/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let program = folder.path().join(name).display().to_string();
    let all = [&[&*source, "-o", &program], words].concat();
    must("cc", all);
    folder
}

/// The path of a program.
#[track_caller]
pub fn required(name: &str) -> PathBuf {
    command::find(name).unwrap_or_else(|error| panic!("{error}"))
}
