//! A session: what `exec` and `run` share. It starts a data path ([`run`]) for
//! some connections ([`scope`]), has it watched, takes it away again, and tells
//! what it did ([`summary`]).

pub mod run;
pub mod scope;
pub mod summary;
