//! The socket table: every socket of the host, with the other end beside it.
//!
//! [`source`] has the kernel write its sockets down, through [`iterator`];
//! [`view`] joins what belongs together: processes ([`source`]), cgroups
//! ([`cgroups`]), the two ends of a connection ([`peers`]), what agents know
//! ([`agents`]). [`filter`] chooses and sorts, `print` and [`show`] are for
//! people, [`names`] puts what programs choose in a form for them, [`view`] is also the schema of the JSON.

pub mod agents;
pub mod cgroups;
pub mod events;
pub mod filter;
pub mod iterator;
pub mod keeper;
pub mod life;
pub mod names;
pub mod options;
pub mod peers;
pub mod print;
pub mod ring;
pub mod show;
pub mod source;
pub mod view;
pub mod words;

/// Version of the JSON schema: it changes when a field goes or changes its
/// meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// The table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The machine or the caller lacks something.
    #[error(transparent)]
    Requirement(#[from] crate::kernel::require::Requirement),
    /// The kernel's structures are not known.
    #[error(transparent)]
    Layout(#[from] crate::kernel::btf::LayoutError),
    /// The programs.
    #[error(transparent)]
    DataPath(#[from] crate::bpf::error::DataPathError),
    /// An iterator.
    #[error("{attempt} failed: {source}; `dmesg` may tell more")]
    Iterate {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel answered.
        #[source]
        source: std::io::Error,
    },
    /// A network namespace.
    #[error(transparent)]
    Namespace(#[from] crate::host::namespaces::NamespaceError),
    /// Somebody else keeps it.
    #[error("a table is kept already: end the other `socketvirt run` first")]
    Kept,
    /// Its maps hold other records.
    #[error(
        "the agent of {0} is of another build of socketvirt: use the program that it was started \
         with, or end it"
    )]
    OtherBuild(std::path::PathBuf),
    /// No namespace of that name.
    #[error(
        "there is no network namespace {0:?}; give `all`, `own`, a name of `ip netns list`, a path \
         or the inode that the table shows"
    )]
    NoNamespace(String),
}

impl TableError {
    /// Refuses what another build has pinned in `folder`.
    fn unless_ours(folder: &std::path::Path) -> Result<(), Self> {
        if crate::bpf::object::is_ours(folder) {
            Ok(())
        } else {
            Err(Self::OtherBuild(folder.to_owned()))
        }
    }
}
