//! The socket table: a row for each socket, from what the kernel keeps of it.

pub mod fill;
pub mod iterate;
pub mod join;
pub mod snapshot;
