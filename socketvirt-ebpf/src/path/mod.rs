//! The path of a connection: found at its handshake, watched, acted on.

pub mod act;
pub mod discover;
pub mod note;
pub mod ready;
pub mod watch;
