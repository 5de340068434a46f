//! What can go wrong with the data path.

use std::io;

use aya::{
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};

use super::refusal::Refusal;

/// The data path could not be loaded, attached or read.
#[derive(Debug, thiserror::Error)]
pub enum DataPathError {
    /// The object is broken or the kernel refused a map.
    #[error("loading the BPF object failed: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// The kernel's BTF cannot be read.
    #[error("reading the kernel's BTF failed: {0}")]
    Btf(#[from] aya::BtfError),
    /// The object does not hold what this agent expects.
    #[error("the embedded BPF object has no {0}; rebuild with `cargo xtask build`")]
    Missing(&'static str),
    /// The kernel refused a program.
    #[error("the kernel refused the program {name}: {refusal}")]
    Program {
        /// The program.
        name: &'static str,
        /// What the kernel answered.
        refusal: Refusal,
    },
    /// A map could not be used.
    #[error("{attempt} failed: {source}")]
    Map {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel answered.
        #[source]
        source: Box<MapError>,
    },
    /// A link could not be used.
    #[error("keeping the link of {name} failed: {source}")]
    Link {
        /// The program.
        name: &'static str,
        /// What went wrong.
        #[source]
        source: Box<LinkError>,
    },
    /// A program could not be attached to `sv_fast`, or detached from it.
    #[error("attaching {name} failed: {source}")]
    Attach {
        /// The program.
        name: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// An object could not be pinned.
    #[error("pinning {name} in the BPF file system failed: {source}")]
    Pin {
        /// The object.
        name: String,
        /// What the kernel answered.
        #[source]
        source: Box<aya::pin::PinError>,
    },
}

impl DataPathError {
    pub(crate) fn map(attempt: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map {
            attempt,
            source: Box::new(source),
        }
    }

    pub(crate) fn attach(name: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Attach { name, source }
    }

    pub(crate) fn program(name: &'static str) -> impl FnOnce(ProgramError) -> Self {
        move |source| Self::Program {
            name,
            refusal: source.into(),
        }
    }
}
