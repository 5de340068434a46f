//! The path of a connection, in the order of its life.
//!
//! *Found*: `handshake` (`callback` is its context) and `discover`, which `note` it;
//! `pairs` are the two ends. *Watched*: `watch` asks of both `ends` whether they are
//! `ready`: what their programs have shown (`habits`; `reads` sees most of them), who
//! their `users` are, and what somebody has vouched for (`vouch`).
//! *Acted on*: `act`, which enrols and lets go (`enrol`, `leaving`). *Used*: each
//! `message`, and who is charged for it (`charge`); what the stack brings (`unify`).
//! *Over*: `ending`. `join` tells the table.

pub mod act;
pub mod callback;
pub mod charge;
pub mod discover;
pub mod ending;
pub mod ends;
pub mod enrol;
pub mod habits;
pub mod handshake;
pub mod join;
pub mod leaving;
pub mod message;
pub mod note;
pub mod pairs;
pub mod reads;
pub mod ready;
pub mod unify;
pub mod users;
pub mod vouch;
pub mod watch;
