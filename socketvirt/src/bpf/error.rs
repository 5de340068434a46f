//! The errors of BPF objects: of programs, maps, links and pins.

use std::io;

use aya::{
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};

use super::refusal::Refusal;

/// A BPF object could not be loaded, attached, pinned or read.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
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
        /// The kernel's answer.
        refusal: Refusal,
    },
    /// A map could not be used.
    #[error("{attempt} failed: {source}")]
    Map {
        /// The attempt.
        attempt: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<MapError>,
    },
    /// A link could not be used.
    #[error("keeping the link of {name} failed: {source}")]
    Link {
        /// The program.
        name: &'static str,
        /// The cause.
        #[source]
        source: Box<LinkError>,
    },
    /// A program could not be attached to `sv_fast`, or detached from it.
    #[error("attaching {name} failed: {source}")]
    Attach {
        /// The program.
        name: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// What another build has pinned could not be read.
    #[error("reading what is pinned of the data path failed: {0}")]
    Pinned(#[source] io::Error),
    /// The handshake program of another build could not be exchanged.
    #[error("exchanging the program of {link} failed: {source}")]
    Exchange {
        /// The name of the link.
        link: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An object could not be pinned.
    #[error("pinning {name} in the BPF file system failed: {source}")]
    Pin {
        /// The object.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Box<aya::pin::PinError>,
    },
}

impl BpfError {
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
