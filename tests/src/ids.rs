//! The programs of the host's data path, by what runs them: to see that they are
//! exchanged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    maps::{Array, Map, MapData},
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
        loaded_programs,
    },
};
use socketvirt::datapath::home;

use crate::life::host;

/// `BPF_SK_SKB_STREAM_VERDICT` and `BPF_SK_MSG_VERDICT`, include/uapi/linux/bpf.h.
const STREAM_VERDICT: u32 = 5;
const MSG_VERDICT: u32 = 7;

/// The iterators, and what is pinned to be attached or run.
const ITERATORS: [&str; 3] = [home::ACT_LINK, home::DISCOVER_LINK, home::HOLDERS_LINK];
const PROGRAMS: [&str; 6] = [
    home::SOCK_OPS,
    home::RECEIVE,
    home::READ,
    home::SUBMIT,
    home::WATCH,
    home::DECIDE,
];

/// What sockets keep that were enrolled with it.
pub const KEPT: [&str; 2] = ["sv_msg_entry", "sv_unify"];

/// The programs of the host's data path, by what runs them.
pub fn programs() -> BTreeMap<String, u32> {
    let fast = MapData::from_pin(host().join(home::FAST)).expect("sv_fast");
    let dispatch = MapData::from_pin(host().join("sv_dispatch")).expect("sv_dispatch");
    // The kernel shows a program by its number.
    let dispatch: Array<_, u32> = Map::Array(dispatch).try_into().expect("numbers");
    let mut found = BTreeMap::from([
        (
            "sv_dispatch".into(),
            dispatch.get(&0, 0).expect("a program"),
        ),
        ("sv_msg_entry".into(), attached(&fast, MSG_VERDICT)),
        ("sv_unify".into(), attached(&fast, STREAM_VERDICT)),
    ]);
    for entry in fs::read_dir(host()).expect("the data path").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("link_") || ITERATORS.contains(&&*name) {
            found.insert(name, of_link(&entry.path()));
        } else if PROGRAMS.contains(&&*name) {
            let info = ProgramInfo::from_pin(entry.path()).expect("a program");
            found.insert(name, info.id());
        }
    }
    found
}

/// The program of a pinned link.
pub fn of_link(path: &Path) -> u32 {
    let link = PinnedLink::from_pin(path).expect("a link");
    let info = FdLink::from(link).info().expect("a link's program");
    info.program_id()
}

/// Those of these programs that are in the kernel still, by name.
pub fn living(programs: &BTreeMap<String, u32>) -> BTreeSet<String> {
    let ids: BTreeSet<u32> = programs.values().copied().collect();
    loaded_programs()
        .flatten()
        .filter(|program| ids.contains(&program.id()))
        .filter_map(|program| program.name_as_str().map(str::to_owned))
        .collect()
}

/// The program that is attached to a socket map, by `BPF_PROG_QUERY`.
fn attached(map: &MapData, how: u32) -> u32 {
    /// The attributes of the call.
    #[repr(C)]
    struct Query {
        target: u32,
        how: u32,
        flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    /// `BPF_PROG_QUERY`.
    const QUERY: libc::c_int = 16;
    let mut id = 0_u32;
    let mut query = Query {
        target: map.fd().as_fd().as_raw_fd().cast_unsigned(),
        how,
        flags: 0,
        attach_flags: 0,
        ids: (&raw mut id) as u64,
        count: 1,
        padding: 0,
    };
    // SAFETY: the attributes and the one number that they point to live during the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, QUERY, &raw mut query, size_of::<Query>()) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    id
}
