//! Additions to aya for the kernel's BPF objects: the
//! embedded [`object`], system calls (`sys`), links that outlive it (`link`),
//! and in words what went wrong ([`error`], [`refusal`]).

pub mod error;
pub(crate) mod link;
pub mod object;
pub mod refusal;
pub(crate) mod sys;
