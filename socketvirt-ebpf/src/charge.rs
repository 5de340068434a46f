//! Whether the receiver of a redirect can be charged for it.
//!
//! `bpf_tcp_ingress` charges the receiver after the decision, and answers
//! `ENOMEM` to the sender when it is refused, where the stack would have waited.

use socketvirt_common::{
    layout::{Charging, KernelLayout},
    pressure,
};

use crate::kernel::{Sock, offset, read};

/// Counters that are looked at: a cgroup's own and those above it.
const MAX_COUNTERS: u32 = 16;

/// Whether TCP's memory is short: above the middle number of `tcp_mem`, and not
/// yet below the first again. `note` is what [`Sock::pressure_note`] gave.
#[inline(always)]
pub fn is_short(note: u64) -> bool {
    note != 0 && read::<u64>(note, 0) != 0
}

impl Sock {
    /// The address of the protocol's note that its memory is short
    /// (`tcp_memory_pressure`), 0 when it is not known.
    #[inline(always)]
    pub fn pressure_note(self) -> u64 {
        if offset!(proto_memory_pressure) == KernelLayout::MISSING {
            return 0;
        }
        let protocol: u64 = read(self.0, offset!(sk_prot));
        read(protocol, offset!(proto_memory_pressure))
    }

    /// Whether the limits of memory for sockets that the socket is under
    /// leave room for `size` bytes.
    ///
    /// Those of cgroup version 1 alone: there a charge is refused at the limit.
    /// Version 2 reclaims memory, and most are at their limit for the files
    /// they have read. `sk_forward_alloc`, which would need no charge, is
    /// gone once the receiver reads.
    #[inline(always)]
    pub fn can_be_charged(self, size: u32) -> bool {
        let charging = offset!(charging);
        if matches!(charging, Charging::Free) {
            return true;
        }
        if matches!(charging, Charging::Unknown) {
            return false;
        }
        let group: u64 = read(self.0, offset!(sk_memcg));
        if group == 0 {
            return true;
        }
        if matches!(charging, Charging::Hidden) {
            return false;
        }
        if read::<u8>(group, offset!(memcg_tcp_active)) == 0 {
            return true;
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
}
