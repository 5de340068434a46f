//! Reading the kernel's sockets: the programs of the table, loaded for as long
//! as they are needed and attached to nothing.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{Iter, ProgramError},
};
use socketvirt_common::record::{event::NOTES, layout::KernelLayout, row::Row, stream::Holder};

use zerocopy::IntoBytes as _;

use super::{
    TableError,
    iterator::{Record, SocketIter, records},
};
use crate::{
    bpf::{error::BpfError, object},
    host::namespaces::{self, NetNamespace, NetNamespaces},
    kernel::{cast, fields, layout, require},
};

/// Whose sockets are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Of all namespaces that a process or a name holds.
    #[default]
    All,
    /// Of the caller's.
    Own,
    /// Of one: a name of `ip netns`, a path, or an inode.
    One(String),
}

impl std::str::FromStr for Namespaces {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "all" => Self::All,
            "own" => Self::Own,
            other => Self::One(other.to_owned()),
        })
    }
}

/// The findings of one scan.
#[derive(Default)]
pub struct Scan {
    /// The sockets, each once.
    pub rows: Vec<Row>,
    /// The processes that have them open.
    pub holders: Vec<Holder>,
    /// The inodes of the namespaces that were looked at.
    pub wanted: Vec<u32>,
    /// The names of the namespaces, by inode.
    pub namespaces: HashMap<u32, String>,
}

/// The programs, loaded.
pub struct Source {
    // Maps and programs go with it.
    _ebpf: Ebpf,
    iterators: Vec<(&'static str, SocketIter)>,
}

/// An object whose maps are as small as they can be: the table needs none.
fn object() -> Result<(Ebpf, Btf), TableError> {
    let btf = Btf::from_sys_fs().map_err(BpfError::from)?;
    let ebpf = load(&btf, None, None)?;
    Ok((ebpf, btf))
}

/// The object of an agent that keeps up to `rows` rows.
///
/// # Errors
/// When the kernel refuses a map.
pub fn keeping(btf: &Btf, rows: u32) -> Result<Ebpf, TableError> {
    load(btf, None, Some(rows))
}

/// Maps that an agent shares with who reads what it knows.
const JOINED: [&str; 4] = ["sv_flow", "sv_pairs", "sv_ends", "sv_watched"];

/// Maps of the agent alone, which are made with the object all the same.
const UNUSED: [&str; 10] = [
    "sv_fast",
    "sv_next",
    "sv_waiting",
    "sv_places",
    "sv_notes",
    "sv_hot",
    "sv_processes",
    "sv_shared",
    "sv_begun",
    "sv_inspected",
];

pub(super) fn load(btf: &Btf, agent: Option<&Path>, rows: Option<u32>) -> Result<Ebpf, TableError> {
    let keep = u32::from(rows.is_some());
    // `LAYOUT` stays unknown: these programs read `FIELDS` alone, so that the
    // table also works where the data path lacks a field.
    let fields = fields::fields()?;
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .override_global("FIELDS", fields.as_bytes(), true)
        .override_global("KEEP", &keep, true)
        .map_max_entries("sv_asked", 64)
        .map_max_entries("sv_seen", 64);
    for map in UNUSED {
        loader.map_max_entries(map, 1);
    }
    if let Some(rows) = rows {
        loader
            .map_max_entries("sv_sockets", rows)
            .map_max_entries("sv_events", NOTES)
            .override_global("NOTES_MASK", &const { NOTES - 1 }, true);
    }
    let mut layout = KernelLayout::UNKNOWN;
    match agent {
        Some(folder) => {
            for map in JOINED {
                loader.map_pin_path(map, folder.join(map));
            }
            // An agent is at work, so nothing is lacking.
            layout = layout::kernel_layout()?;
        }
        None => {
            for map in JOINED.iter().filter(|map| **map != "sv_flow") {
                loader.map_max_entries(map, 1);
            }
        }
    }
    loader
        .load(&cast::fill(object::OBJECT, &layout))
        .map_err(|error| BpfError::Load(Box::new(error)).into())
}

pub(super) fn iterator(
    ebpf: &mut Ebpf,
    name: &'static str,
    kind: &str,
    btf: &Btf,
) -> Result<SocketIter, TableError> {
    let refused = |source: ProgramError| BpfError::Program {
        name,
        refusal: source.into(),
    };
    let program: &mut Iter = ebpf
        .program_mut(name)
        .ok_or(BpfError::Missing(name))?
        .try_into()
        .map_err(refused)?;
    program.load(kind, btf).map_err(refused)?;
    let fd = program.fd().map_err(refused)?;
    SocketIter::new(fd).map_err(|source| TableError::Iterate {
        attempt: "making an iterator",
        source,
    })
}

impl Source {
    /// Loads the programs. They see sockets and touch none.
    ///
    /// # Errors
    /// When the kernel refuses, or lacks something.
    pub fn open() -> Result<Self, TableError> {
        require::check()?;
        let (mut ebpf, btf) = object()?;
        let iterators = iterators(&mut ebpf, &btf)?;
        Ok(Self {
            _ebpf: ebpf,
            iterators,
        })
    }

    /// Looks at every socket once.
    ///
    /// # Errors
    /// When the kernel refuses a pass.
    pub fn read(&self, which: &Namespaces) -> Result<Scan, TableError> {
        let mut output = Vec::new();
        let (namespaces, names) = visit(&self.iterators, which, &mut output)?;
        let wanted: Vec<u32> = namespaces
            .iter()
            .filter_map(|one| u32::try_from(one.inode()).ok())
            .collect();
        let mut scan = sort(&output, &wanted);
        scan.namespaces = names;
        scan.wanted = wanted;
        Ok(scan)
    }
}

/// The iterators of the table: over sockets, and over files.
///
/// # Errors
/// When the kernel refuses a program.
pub fn iterators(
    ebpf: &mut Ebpf,
    btf: &Btf,
) -> Result<Vec<(&'static str, SocketIter)>, TableError> {
    [
        ("sv_table_tcp", "tcp"),
        ("sv_table_udp", "udp"),
        ("sv_table_unix", "unix"),
        ("sv_table_file", FILES),
    ]
    .into_iter()
    .map(|(name, kind)| Ok((kind, iterator(ebpf, name, kind, btf)?)))
    .collect()
}

/// The iterator that sees all namespaces at once.
const FILES: &str = "task_file";

/// Has the kernel visit every socket of these namespaces.
///
/// # Errors
/// When it refuses a pass.
pub fn visit(
    iterators: &[(&'static str, SocketIter)],
    which: &Namespaces,
    output: &mut Vec<u8>,
) -> Result<(Vec<NetNamespace>, HashMap<u32, String>), TableError> {
    let (namespaces, names) = chosen(which)?;
    // A thread of its own, since it enters namespaces.
    thread::scope(|scope| {
        let work = || -> Result<(), TableError> {
            let of_files = |kind: &str| kind == FILES;
            for namespace in &namespaces {
                namespace.enter()?;
                for (_, sockets) in iterators.iter().filter(|(kind, _)| !of_files(kind)) {
                    run(sockets, output)?;
                }
            }
            // Last, so that what was made meanwhile has an owner too.
            for (_, files) in iterators.iter().filter(|(kind, _)| of_files(kind)) {
                run(files, output)?;
            }
            Ok(())
        };
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })?;
    Ok((namespaces, names))
}

pub(super) fn run(iterator: &SocketIter, output: &mut Vec<u8>) -> Result<(), TableError> {
    iterator.run(output).map_err(|source| TableError::Iterate {
        attempt: "reading an iterator",
        source,
    })
}

/// Rows once each, the last one of a socket that was met twice, and holders.
fn sort(output: &[u8], wanted: &[u32]) -> Scan {
    let mut scan = Scan::default();
    let mut at = HashMap::new();
    for record in records(output) {
        match record {
            // Open files are those of every namespace.
            Record::Row(row) if !wanted.contains(&row.local.netns) => {}
            Record::Row(row) => match at.entry(row.id) {
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(scan.rows.len());
                    scan.rows.push(*row);
                }
                std::collections::hash_map::Entry::Occupied(seen) => {
                    scan.rows[*seen.get()] = *row;
                }
            },
            Record::Holder(holder) => scan.holders.push(holder),
            Record::Joined(_) | Record::Missing(_) => {}
        }
    }
    scan
}

/// The namespaces asked for, and what they are called.
pub(super) fn chosen(
    which: &Namespaces,
) -> Result<(Vec<NetNamespace>, HashMap<u32, String>), TableError> {
    let names = names();
    let own = || NetNamespace::own().map_err(TableError::OwnNamespace);
    let found = match which {
        Namespaces::Own => vec![own()?],
        Namespaces::All => every(own()?),
        Namespaces::One(name) => {
            let path = if name.contains('/') {
                PathBuf::from(name)
            } else {
                Path::new("/run/netns").join(name)
            };
            let one = match (NetNamespace::open(&path), name.parse::<u64>()) {
                (Ok(found), _) => Some(found),
                (Err(_), Ok(inode)) => every(own()?)
                    .into_iter()
                    .find(|other| other.inode() == inode),
                _ => None,
            };
            vec![one.ok_or_else(|| TableError::NoNamespace(name.clone()))?]
        }
    };
    Ok((found, names))
}

fn every(own: NetNamespace) -> Vec<NetNamespace> {
    let mut all = NetNamespaces::default();
    all.refresh(namespaces::processes(), true);
    let inode = own.inode();
    let mut found: Vec<_> = all.into_all().filter(|one| one.inode() != inode).collect();
    found.insert(0, own);
    found
}

fn names() -> HashMap<u32, String> {
    use std::os::unix::fs::MetadataExt as _;
    fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let inode = fs::metadata(entry.path()).ok()?.ino();
            Some((
                u32::try_from(inode).ok()?,
                entry.file_name().to_string_lossy().into_owned(),
            ))
        })
        .collect()
}
