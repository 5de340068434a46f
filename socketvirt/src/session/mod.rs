//! A session: what `exec` and `run` share. It starts a data path ([`run`], `begin`) for
//! some connections ([`scope`]), says what is on ([`effective`]), has it watched,
//! takes it away again, and tells what it did ([`summary`]).

mod begin;
pub mod effective;
pub mod error;
pub mod run;
pub mod scope;
pub mod summary;
