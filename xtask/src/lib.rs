//! Common ground of the commands of `cargo xtask`, those in crates of their own too: setting up, building, progress.

#![expect(
    clippy::missing_errors_doc,
    reason = "errors are for people: each says what was attempted and what to do"
)]
#![expect(
    clippy::must_use_candidate,
    reason = "nothing here is called for its side effect and returns something else"
)]

pub mod build;
pub mod pages;
pub mod progress;
pub mod setup;
pub mod tool;
pub mod workspace;
