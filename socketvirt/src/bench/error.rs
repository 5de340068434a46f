//! The errors of a benchmark, each with what to do about it.

use std::{io, path::PathBuf};

use nix::errno::Errno;

/// A benchmark, or one measurement of it, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket table could not be kept or read.
    #[error(transparent)]
    Table(#[from] crate::table::TableError),

    /// There is no cgroup to measure in.
    #[error(transparent)]
    Cgroup(#[from] crate::host::cgroup::CgroupError),

    /// A system call of a worker failed; on an accelerated socket this is also
    /// how a wrong answer of the fast path shows.
    #[error("{call}: {errno}")]
    Call {
        /// The call, by its name in section 2 of the manual.
        call: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },

    /// Standard-library input or output failed.
    #[error("{attempt}: {source}")]
    Io {
        /// The attempt.
        attempt: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The two ends of a control link do not speak the same protocol.
    #[error("control link: {0}")]
    Protocol(String),

    /// The other end of a connection or of a control link went away.
    #[error("{0} ended early{1}")]
    Ended(&'static str, String),

    /// A process may not have enough descriptors.
    #[error("a process may have {0} descriptors here: raise the limit (`ulimit -n`)")]
    Descriptors(usize),

    /// A pair that shall be adopted was not.
    #[error("no pair was adopted within {0:?}: `socketvirt ends` says why")]
    NotAdopted(std::time::Duration),

    /// A worker did not answer in time.
    #[error("{0} gave no answer for {1} s: a call may hang")]
    Silent(&'static str, u16),

    /// A worker reported a failure.
    #[error("{0}")]
    Worker(String),

    /// The bytes that came back are not those that were sent.
    #[error("bytes differ: a message of {size} B came back changed")]
    Corrupt {
        /// Size of the message.
        size: usize,
    },

    /// `--only` named no group.
    #[error("no measurement is called {name:?}; there are {known}")]
    UnknownGroup {
        /// The name that was asked for.
        name: String,
        /// The names that can be asked for.
        known: String,
    },

    /// The figure could not be drawn.
    #[error("drawing {}: {answer}", file.display())]
    Figure {
        /// Where to.
        file: PathBuf,
        /// The answer that names the failure.
        answer: String,
    },

    /// The redirect that the fast path is compared with could not be had.
    #[error("the naive redirect: {attempt}: {source} (CAP_BPF and CAP_NET_ADMIN are needed)")]
    Naive {
        /// The attempt.
        attempt: &'static str,
        /// The kernel's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The build is at fault.
    #[error("the naive redirect: a map or a program is missing in its object: build anew")]
    NaiveMap,

    /// `ip` could not build the namespaces.
    #[error("`ip {command}` failed: {answer} (iproute2 and CAP_NET_ADMIN are needed)")]
    Ip {
        /// Arguments of the command.
        command: String,
        /// Its standard error.
        answer: String,
    },
}

impl Error {
    /// For `map_err` on a call of the standard library.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::Io { attempt, source }
    }

    /// For `map_err` on a system call.
    pub(crate) fn call(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Call { call, errno }
    }
}
