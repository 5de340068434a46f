//! Questions to the running kernel: whether it can carry the data path
//! at all ([`require`], [`capabilities`]), where it keeps what the programs read
//! ([`layout`] with [`charges`] and [`fields`], from [`btf`] by [`known`] and [`symbols`]), what
//! programs may load of it and call in it ([`cast`]).

pub mod btf;
pub mod capabilities;
pub mod cast;
pub mod charges;
pub mod fields;
pub mod known;
pub mod layout;
pub mod require;
pub mod symbols;
