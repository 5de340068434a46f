//! A line of the tables of kernel fields ([`layout`](super::layout), [`fields`](super::fields)).
//!
//! A line is all that is said of a field:
//!
//! ```text
//! NAME = "MEMBER", BYTES, needed: "what is read there";
//! NAME = "MEMBER", BYTES, unknown: "what is not known on a kernel without it";
//! NAME = "MEMBER", BYTES, elsewhere;
//! ```
//!
//! The programs read it by its name, the agent finds it by the line, and
//! `socketvirt doctor` tells what is lost.

/// Where a kernel has a field, and what it is needed for.
#[derive(Clone, Copy, Debug)]
pub struct Line<Record: 'static, Place: 'static> {
    /// The name of the structure.
    pub structure: &'static str,
    /// The name of the member, with those that it lies in before it.
    pub member: &'static str,
    /// Its bytes; 0 for bits of one byte, and for what has no size of its own.
    pub size: usize,
    /// What holds on a kernel without it.
    pub without: Without,
    /// Its place in the record.
    pub place: fn(&mut Record) -> &mut Place,
}

/// What holds on a kernel without a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// It is refused, as this is read there.
    Refused(&'static str),
    /// This is unknown.
    Unknown(&'static str),
    /// Another field tells the same.
    Elsewhere,
}

/// What holds on a kernel without a field, in the words of a line.
macro_rules! without {
    (needed: $purpose:literal) => {
        $crate::record::line::Without::Refused($purpose)
    };
    (unknown: $lost:literal) => {
        $crate::record::line::Without::Unknown($lost)
    };
    (elsewhere) => {
        $crate::record::line::Without::Elsewhere
    };
}
pub(super) use without;
