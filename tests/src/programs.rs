//! Real programs from the distribution.

use std::path::PathBuf;

use test_support::command;
pub use test_support::ports::free as free_port;

/// The path of a program.
#[track_caller]
pub fn required(name: &str) -> PathBuf {
    command::find(name).unwrap_or_else(|error| panic!("{error}"))
}
