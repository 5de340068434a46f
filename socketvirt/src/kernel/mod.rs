//! What the agent asks of the running kernel: whether it can carry the data path
//! at all ([`require`], [`capabilities`]), where it keeps what the programs read
//! ([`layout`] with [`charges`] and [`places`], from [`btf`] and [`symbols`]), what
//! programs may load of it ([`cast`]).

pub mod btf;
pub mod capabilities;
pub mod cast;
pub mod charges;
pub mod layout;
pub mod places;
pub mod require;
pub mod symbols;
