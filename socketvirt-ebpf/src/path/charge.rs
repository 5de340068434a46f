//! Memory of sockets: whether the receiver of a redirect can be charged for it.
//!
//! Plain TCP has memory for a first packet whatever the limits say, in both
//! directions (`sk_forced_mem_schedule`). An enrolled socket has not: its sends
//! need a copy (`sk_msg_alloc`), and what arrives waits until it can be charged
//! (`sk_psock_create_ingress_msg`). So sockets under a hard limit are not
//! enrolled. (K-MEM-2 in `docs/kernel`.)
//!
//! A socket that a handshake enrols is charged to nobody before accept(2).
//! Until a look finds out, each redirect to it is checked. `bpf_tcp_ingress`
//! charges the receiver after the decision, and answers `ENOMEM` to the sender
//! when it is refused; the stack would have waited.

use socketvirt_common::{
    record::{
        flow::{Flow, UNKNOWN_GROUP},
        layout::{Charging, KernelLayout},
    },
    rule::pressure,
};

use crate::kernel::{
    load::{layout, offset, read},
    sock::Sock,
};

/// Counters that are looked at: a cgroup's own and those above it.
const MAX_COUNTERS: u32 = 16;

/// Stands for a cgroup whose counters are not known.
const REFUSES: u64 = 2;

/// True when the charge of `size` bytes to the peer will not be refused.
#[inline(always)]
pub fn is_certain(flow: &mut Flow, size: u32) -> bool {
    if pressure::looks_at_the_host(size, flow.total.fast_messages) && is_short(flow.pressure) {
        return false;
    }
    if flow.peer_group == UNKNOWN_GROUP {
        let peer = Sock(flow.peer_sock);
        // It is set before the socket gets its file, and never again.
        let accepted = peer.has_file();
        let group = peer.memory_group();
        if accepted {
            flow.peer_group = group;
        }
        return can_be_charged(group, size);
    }
    flow.peer_group == 0 || can_be_charged(flow.peer_group, size)
}

/// True while TCP's memory is short: above the middle number of `tcp_mem`, and
/// not yet below the first again. `note` is what [`Sock::pressure_note`] gave.
#[inline(always)]
fn is_short(note: u64) -> bool {
    note != 0 && read::<u64>(note, 0) != 0
}

impl Sock {
    /// Returns the address of the protocol's note that its memory is short
    /// (`tcp_memory_pressure`), 0 when it is not known.
    #[inline(always)]
    pub fn pressure_note(self) -> u64 {
        if offset!(proto_memory_pressure) == KernelLayout::MISSING {
            return 0;
        }
        let protocol: u64 = read(self.0, offset!(sk_prot));
        read(protocol, offset!(proto_memory_pressure))
    }

    /// Returns the cgroup that the socket's memory is charged to. It is 0 when
    /// no cgroup could refuse the memory, and [`REFUSES`] when that cannot be
    /// known.
    #[inline(always)]
    pub fn memory_group(self) -> u64 {
        let charging = layout!(charging);
        if matches!(charging, Charging::Free) {
            return 0;
        }
        if matches!(charging, Charging::Unknown) {
            return REFUSES;
        }
        let group: u64 = read(self.0, offset!(sk_memcg));
        if group == 0 {
            return 0;
        }
        if matches!(charging, Charging::Hidden) {
            return REFUSES;
        }
        // Only version 1 limits. Version 2 reclaims memory, and most cgroups
        // are at their limit for the files they have read.
        if read::<u8>(group, offset!(memcg_tcp_active)) == 0 {
            return 0;
        }
        group
    }
}

/// True when the limits of memory for sockets of the cgroup `group`, and of
/// those above, leave room for `size` bytes.
///
/// `sk_forward_alloc`, which would need no charge, is gone once the receiver
/// reads.
#[inline(always)]
fn can_be_charged(group: u64, size: u32) -> bool {
    if group == 0 {
        return true;
    }
    if group == REFUSES {
        return false;
    }
    let mut counter = group + u64::from(offset!(memcg_tcp));
    for _ in 0..MAX_COUNTERS {
        let usage: u64 = read(counter, offset!(counter_usage));
        let max: u64 = read(counter, offset!(counter_max));
        if !pressure::can_be_charged(usage, max, size, offset!(cpus)) {
            return false;
        }
        counter = read(counter, offset!(counter_parent));
        if counter == 0 {
            return true;
        }
    }
    false
}
