//! The socket table: a row for each socket, from what the kernel keeps of it.

pub mod events;
pub mod fill;
pub mod hooks;
pub mod iterate;
pub mod options;
pub mod rows;
pub mod snapshot;
pub mod text;
