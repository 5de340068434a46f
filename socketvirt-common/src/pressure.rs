//! Back-pressure: how much may wait in a receiver's redirect queue.
//!
//! No kernel compares the receiver's limit when a message is redirected
//! (`bpf_tcp_ingress`, `net/ipv4/tcp_bpf.c`), so the program does. Above the
//! limit the message goes to the stack, whose own flow control blocks the
//! sender and wakes it again.

/// Kernel memory that a queued message costs besides its payload, in bytes:
/// a `struct sk_msg` (about 1.7 KiB, from the 2 KiB slab).
pub const MESSAGE_OVERHEAD: u32 = 2048;

/// Whether one more message of `size` bytes may be queued at a receiver that
/// already has `queued` bytes in at most `messages` messages, with `limit`
/// (`sk_rcvbuf`) as the bound of both together.
///
/// Every message is charged with its overhead, as TCP charges `truesize`, so
/// a flood of 1-byte messages is bounded like a flood of large ones.
#[inline(always)]
#[must_use]
pub const fn fits(queued: u32, messages: u32, size: u32, limit: u32) -> bool {
    let overhead = (messages as u64 + 1) * MESSAGE_OVERHEAD as u64;
    queued as u64 + size as u64 + overhead <= limit as u64
}

/// The upper bound of messages in the queue before one more is sent.
///
/// The kernel keeps no count, so it is bounded from the sender's side: the
/// messages redirected since the queue was last seen empty.
#[inline(always)]
#[must_use]
pub const fn messages_queued(queued: u32, since_empty: u32) -> u32 {
    if queued == 0 { 0 } else { since_empty }
}
