//! The maps. The kernel cuts names at 15 bytes, and users of `bpftool` read
//! them, so all begin with `sv_`.

#![expect(
    non_upper_case_globals,
    reason = "the name of a static is the name of its map"
)]

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_map_type::BPF_MAP_TYPE_SOCKHASH,
    btf_maps::{
        Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, Queue, RingBuf, SkStorage,
    },
    macros::btf_map,
};
use socketvirt_common::{
    reason::Reason,
    record::{
        config::Config,
        event::{Note, TableStats},
        fields::Fields,
        flow::Flow,
        layout::KernelLayout,
        pair::{End, EndKey, Sequences},
        policy::{
            NameKey, NetKey, NetSets, PIECES, PORTS, Piece, PortSets, RuleInfo, RuleStats, SLOTS,
            Set, SetKey, TextKey,
        },
        program::Program,
        reader::{PROCESSES, Process, Rings},
        row::Row,
        stats::Stats,
        watch::{FILTER, HOT, NOTED_ENDS, NOTES, Noted, PAIRS, Seen, Shared, Tiers, Watched},
    },
    rule::order::Next,
};

use crate::scratch::Scratch;

/// A map that userspace reads as memory, `include/uapi/linux/bpf.h`.
const BPF_F_MMAPABLE: usize = 1 << 10;

/// A map whose entries take their memory one by one.
const BPF_F_NO_PREALLOC: usize = 1;

/// Where the running kernel keeps its fields. The agent writes it before the
/// programs are verified, which then see constants.
#[unsafe(no_mangle)]
pub static LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

/// Where the kernel keeps what the rows of the table show; the agent writes it
/// too.
#[unsafe(no_mangle)]
pub static FIELDS: Fields = Fields::UNKNOWN;

/// Handshake id and side to the end of a connection. Resized at load.
#[btf_map]
pub static sv_pairs: HashMap<EndKey, End, 65536> = HashMap::new();

/// The hot state of one direction, in the socket's own storage.
#[btf_map]
pub static sv_flow: SkStorage<Flow> = SkStorage::new();

/// The enrolled sockets by their end of the connection. Resized at load.
#[btf_map]
pub static sv_fast: SocketHash<65536> = SocketHash::new();

/// Where the stack's stream of an enrolled socket goes on in unified mode, by
/// the socket's cookie. Resized at load.
#[btf_map]
pub static sv_next: HashMap<u64, Next, 65536> = HashMap::new();

/// The program that decides about messages.
#[btf_map]
pub static sv_dispatch: ProgramArray<1> = ProgramArray::new();

/// Switches of the agent.
#[btf_map]
pub static sv_config: Array<Config, 1> = Array::new();

/// Counters.
#[btf_map]
pub static sv_stats: PerCpuArray<Stats, 1> = PerCpuArray::new();

/// The connections that the walk at the start has seen one end of, each as that
/// end tells it. It is only a hint where a peer may be found.
#[btf_map]
pub static sv_seen: LruHashMap<Sequences, Seen, 65536> = LruHashMap::new();

/// The word that the first end of a connection has left for the other.
#[btf_map]
pub static sv_waiting: Array<Noted, { NOTED_ENDS as usize }> = Array::new();

/// The watched pairs, by place.
#[btf_map]
pub static sv_watched: Array<Watched, { PAIRS as usize }, BPF_F_MMAPABLE> = Array::new();

/// Places that are free again.
#[btf_map]
pub static sv_places: Queue<u32, { PAIRS as usize }> = Queue::new();

/// Places that were ever used: those before this one.
#[btf_map]
pub static sv_fresh: Array<u64, 1> = Array::new();

/// Places of new pairs. The upper half of an entry is its number, by which a
/// reader knows whether it was written over.
#[btf_map]
pub static sv_notes: Array<u64, { NOTES as usize }> = Array::new();

/// Number of pairs that were noted.
#[btf_map]
pub static sv_noted: Array<u64, 1> = Array::new();

/// Places of the pairs that are looked at often.
#[btf_map]
pub static sv_hot: Array<u32, { HOT as usize }> = Array::new();

/// The state that the tiers share.
#[btf_map]
pub static sv_tiers: Array<Tiers, 1, BPF_F_MMAPABLE> = Array::new();

/// Cookie of a watched socket to its place, doubled, and 1 more for a server.
#[btf_map]
pub static sv_ends: HashMap<u64, u32, { 2 * PAIRS as usize }, BPF_F_NO_PREALLOC> = HashMap::new();

/// Number of watched ends by the last bits of their cookies: most sockets of a host are
/// told by a 0 that they are none.
#[btf_map]
pub static sv_filter: Array<u64, { FILTER as usize }> = Array::new();

/// Number of ends that wait for a locked visit, by network namespace.
#[btf_map]
pub static sv_spaces: HashMap<u32, u32, 1024> = HashMap::new();

/// Files of watched sockets whose holders are looked for, by the address of the
/// file. The value tells which end it is, and how many references there are.
#[btf_map]
pub static sv_shared: HashMap<u64, Shared, 1024> = HashMap::new();

/// The processes that read watched sockets, see `reader::name`.
#[btf_map]
pub static sv_processes: LruHashMap<u64, Process, { PROCESSES as usize }> = LruHashMap::new();

/// The rings of processes that have made any, see `reader::name`.
#[btf_map]
pub static sv_rings: LruHashMap<u64, Rings, { PROCESSES as usize }> = LruHashMap::new();

/// Habits: what programs have shown that keeps their sockets off.
#[btf_map]
pub static sv_habits: LruHashMap<Program, Reason, 8192> = LruHashMap::new();

/// Cookies of sockets that were spliced while they were enrolled, or may have been. A full
/// map drops the oldest.
#[btf_map]
pub static sv_spliced: LruHashMap<u64, u32, 8192> = LruHashMap::new();

/// Number of programs that have begun in each cgroup. The programs alone write
/// it. The agent makes the entry that counts for all cgroups that find no room
/// here.
#[btf_map]
pub static sv_begun: HashMap<u64, u64, 8192> = HashMap::new();

/// Number of those programs that had begun before the agent's last complete
/// look. The agent alone writes it.
#[btf_map]
pub static sv_inspected: HashMap<u64, u64, 8192> = HashMap::new();

/// Wakes the agent. Each entry is the id of a cgroup in which a program began,
/// or showed something new. An entry that finds no room is lost, while the
/// agent is awake anyway.
#[btf_map]
pub static sv_wake: RingBuf<u64, 4096> = RingBuf::new();

/// The policy in force, a [`socketvirt_common::record::policy::Active`]. The maps
/// below hold it, and for a moment the one before or after it.
#[btf_map]
pub static sv_policy: Array<u64, 1, BPF_F_MMAPABLE> = Array::new();

/// The sets of a port, see `Active::port`.
#[btf_map]
pub static sv_rule_ports: Array<PortSets, { 2 * PORTS as usize }, BPF_F_MMAPABLE> = Array::new();

/// The sets of the longest prefix of an address.
#[btf_map]
pub static sv_rule_nets: LpmTrie<NetKey, NetSets, 65536> = LpmTrie::new();

/// The sets of values that rules tell: complete.
#[btf_map]
pub static sv_rule_values: HashMap<NameKey, u32, 65536, BPF_F_NO_PREALLOC> = HashMap::new();

/// The sets of cgroups and executables, as far as the agent was asked for them. A
/// full map drops the oldest, which is asked for again.
#[btf_map]
pub static sv_rule_names: LruHashMap<NameKey, u32, 16384> = LruHashMap::new();

/// Names that the agent is asked for, each with the number of a process that it
/// is of.
#[btf_map]
pub static sv_rule_asked: LruHashMap<NameKey, u64, 1024> = LruHashMap::new();

/// The sets of rules.
#[btf_map]
pub static sv_rule_sets: HashMap<SetKey, Set, 131_072, BPF_F_NO_PREALLOC> = HashMap::new();

/// The rules, see `Active::slot`.
#[btf_map]
pub static sv_rules: Array<RuleInfo, { 2 * SLOTS as usize }> = Array::new();

/// The counters of the rules.
#[btf_map]
pub static sv_rule_stats: Array<RuleStats, { 2 * SLOTS as usize }> = Array::new();

/// The text of the policy; userspace alone uses it.
#[btf_map]
pub static sv_policy_text: HashMap<TextKey, Piece, { 2 * PIECES as usize }, BPF_F_NO_PREALLOC> =
    HashMap::new();

/// Connections that a listener of this host has been asked for, by client, and
/// why it would not enrol its end. It is only a hint that a client's peer may
/// be here, so that it can be enrolled eagerly.
#[btf_map]
pub static sv_asked: LruHashMap<Endpoint, Reason, 4096> = LruHashMap::new();

/// Socket cookie to row. Resized at load. Its memory is taken at once; taking
/// it row by row costs every connection several times as much.
#[btf_map]
pub static sv_sockets: HashMap<u64, Row, 1> = HashMap::new();

/// The ring of notes. Resized at load.
#[btf_map]
pub static sv_events: Array<Note, 1, BPF_F_MMAPABLE> = Array::new();

/// The number of the last note that was begun.
#[btf_map]
pub static sv_cursor: Array<u64, 1, BPF_F_MMAPABLE> = Array::new();

/// The socket whose last descriptor was closed last, on each CPU.
#[btf_map]
pub static sv_closing: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The counters of the keeper of the table.
#[btf_map]
pub static sv_table: Array<TableStats, 1> = Array::new();

/// The build that the maps beside it are of, the number of its records, and its
/// version; userspace alone uses it.
#[btf_map]
pub static sv_build: Array<u64, 3> = Array::new();

/// Room for one socket, while its row is made.
#[btf_map]
pub static sv_scratch: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// A client's address and port, host byte order; IPv4 is mapped to IPv6.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// The address in network byte order.
    pub address: [u32; 4],
    /// The port in host byte order.
    pub port: u32,
}

/// A SOCKHASH whose values are 8 bytes, so that a look-up from userspace shows
/// the cookie. The values of aya's own have 4 bytes, which the kernel refuses
/// to show.
#[repr(C)]
pub struct SocketHash<const MAX_ENTRIES: usize> {
    r#type: *const [i32; BPF_MAP_TYPE_SOCKHASH as usize],
    key: *const EndKey,
    value: *const u64,
    max_entries: *const [i32; MAX_ENTRIES],
    map_flags: *const [i32; 0],
}

// SAFETY: only what loads the object reads the fields; at run time the static stands for
// the map's address.
unsafe impl<const MAX_ENTRIES: usize> Sync for SocketHash<MAX_ENTRIES> {}

impl<const MAX_ENTRIES: usize> SocketHash<MAX_ENTRIES> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }
}

/// The address by which helpers know a map.
#[inline(always)]
pub fn handle<M>(map: &'static M) -> *mut c_void {
    core::ptr::from_ref(map).cast_mut().cast()
}
