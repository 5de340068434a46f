//! The path of a connection, in the order of its life.
//!
//! *Found*: `handshake` (`callback` is its context) and `discover`, which `note` it;
//! `pairs` are the two ends. *Watched*: `watch` asks what is `ready`, and what
//! programs have shown (`habits`). *Acted on*: `act`, which enrols and lets go
//! (`enrol`). *Used*: each `message`, and who is charged for it (`charge`); what the stack
//! brings (`unify`). *Over*: `ending`. `join` tells the table.

pub mod act;
pub mod callback;
pub mod charge;
pub mod discover;
pub mod ending;
pub mod enrol;
pub mod habits;
pub mod handshake;
pub mod join;
pub mod message;
pub mod note;
pub mod pairs;
pub mod ready;
pub mod unify;
pub mod watch;
