//! The way of a connection's packets, and how much is redirected on it.
//!
//! Packets of one namespace take its loopback device, which batches a stream into
//! packets of 64 KiB and hands them over at once. Between namespaces each packet
//! passes two devices, and often a bridge, an overlay and filters: a redirect saves
//! that for large messages too.

use super::pressure::{BULK_MESSAGE, LARGEST_MESSAGE};
use crate::record::flow::{Limits, Way};

/// Bytes that may wait for a receiver in another namespace, whose program leaves its
/// buffer to the kernel. The kernel lets such a buffer grow beyond that as well, by
/// what arrives from the stack.
///
/// With the few messages that the first buffer holds, a stream would change path all
/// the time.
pub const QUEUE: u32 = 2 << 20;

/// Returns the way between two sockets, by what names their network namespaces.
#[inline(always)]
#[must_use]
pub const fn between(one: u64, other: u64) -> Way {
    if one == other {
        Way::Loopback
    } else {
        Way::Namespaces
    }
}

/// Returns what may be redirected on a way.
///
/// More than the receiver's buffer may wait only where packets of the stack join
/// the redirected bytes (`unified`). The first of them is taken in whatever waits, and
/// lets the buffer grow. Elsewhere it would be dropped, and come again after 200 ms.
/// (K-WAY-3 in `docs/kernel`.)
#[inline(always)]
#[must_use]
pub const fn limits(way: Way, unified: bool) -> Limits {
    match way {
        Way::Loopback => Limits {
            largest: BULK_MESSAGE,
            queue: 0,
        },
        Way::Namespaces => Limits {
            largest: LARGEST_MESSAGE,
            queue: if unified { QUEUE } else { 0 },
        },
    }
}

/// Returns the limit of a receiver's queues in bytes. `rcvbuf` is its buffer
/// (`sk_rcvbuf`), which its program has `fixed` or not.
#[inline(always)]
#[must_use]
pub const fn room(queue: u32, rcvbuf: u32, fixed: bool) -> u32 {
    if queue == 0 || fixed { rcvbuf } else { queue }
}
