//! The socket table: every socket of the host, with the other end beside it.
//!
//! [`source`] has the kernel write its sockets down, through [`iterator`];
//! [`view`] joins what belongs together: processes ([`source`]), cgroups
//! ([`cgroup_paths`](crate::host::cgroup_paths)), the two ends of a connection ([`peers`]), what agents know
//! ([`agents`], by a [`joiner`] each). [`filter`] chooses and sorts, `print` and [`show`] are for
//! people, [`why`] counts the reasons, [`names`] puts what programs choose in a form for them, [`view`] is also the schema of the JSON.

pub mod agents;
pub mod events;
pub mod filter;
pub mod iterator;
pub mod joiner;
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
pub mod why;
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
    Bpf(#[from] crate::bpf::error::BpfError),
    /// An iterator could not be made, or run.
    #[error("{attempt} failed: {source}; `dmesg` may tell more")]
    Iterate {
        /// The attempt.
        attempt: &'static str,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The folder of its maps could not be made.
    #[error("making {}, the folder of the table's maps, failed: {source}", folder.display())]
    Folder {
        /// The folder, in the BPF file system.
        folder: std::path::PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The cgroup of all cgroups could not be opened.
    #[error("opening {}, the topmost cgroup, failed: {source}", cgroup.display())]
    Cgroup {
        /// Its folder.
        cgroup: std::path::PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The ring of events could not be mapped into memory.
    #[error("mapping the events into memory failed: {0}")]
    Events(#[source] std::io::Error),
    /// The thread that scans could not be started.
    #[error("starting the thread that scans failed: {0}; raise the limit of processes")]
    Thread(#[source] std::io::Error),
    /// The caller's own network namespace could not be opened.
    #[error("opening the caller's network namespace failed: {0}; is /proc mounted?")]
    OwnNamespace(#[source] std::io::Error),
    /// The thread of the scans has panicked.
    #[error(transparent)]
    Panicked(#[from] crate::thread::Panicked),
    /// A network namespace.
    #[error(transparent)]
    Namespace(#[from] crate::host::namespaces::NamespaceError),
    /// Somebody else keeps it.
    #[error("a table is kept already, {}: end that `socketvirt run` first", crate::host::bpffs::by(*.0))]
    Kept(Option<u32>),
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
