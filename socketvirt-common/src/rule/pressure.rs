//! Back-pressure: how much may wait in a receiver's redirect queue, and whether
//! its memory can be charged.
//!
//! No kernel compares the receiver's limit when a message is redirected
//! (`bpf_tcp_ingress`, `net/ipv4/tcp_bpf.c`), so the program does. Above the
//! limit the message goes to the stack. Its own flow control blocks the sender
//! and wakes it again.

/// Kernel memory that a queued message costs besides its payload, in bytes:
/// a `struct sk_msg` (about 1.7 KiB, from the 2 KiB slab).
pub const MESSAGE_OVERHEAD: u32 = 2048;

/// True when one more message of `size` bytes may be queued. The receiver
/// already has `queued` bytes in at most `messages` messages; `limit`
/// (`sk_rcvbuf`) bounds both together.
///
/// Every message is charged with its overhead, as TCP charges `truesize`. So a
/// flood of 1-byte messages is bounded like a flood of large ones.
#[inline(always)]
#[must_use]
pub const fn fits(queued: u32, messages: u32, size: u32, limit: u32) -> bool {
    let overhead = (messages as u64 + 1) * MESSAGE_OVERHEAD as u64;
    queued as u64 + size as u64 + overhead <= limit as u64
}

/// Returns the upper bound of messages in the queue before one more is sent.
///
/// The kernel keeps no count. The sender's side bounds it: the messages
/// redirected since the queue was last seen empty.
#[inline(always)]
#[must_use]
pub const fn messages_queued(queued: u32, since_empty: u32) -> u32 {
    if queued == 0 { 0 } else { since_empty }
}

/// Messages above this size, in bytes, are better off on the stack of one
/// namespace, which batches them while a redirect copies and wakes once for each.
pub const BULK_MESSAGE: u32 = 64 * 1024;

/// The same for messages between namespaces, where the stack takes a longer way
/// ([`super::way`]).
pub const LARGEST_MESSAGE: u32 = 1 << 20;

/// The smallest page of any kernel, in bytes. Where pages are larger, fewer
/// are charged than counted here.
const PAGE: u64 = 4096;

/// Pages that redirects under way on one processor may be charged: two of the
/// largest messages, in pieces.
const PAGES_UNDER_WAY: u64 = 2 * (LARGEST_MESSAGE as u64 / PAGE + 2);

/// True when a message of `size` bytes has to look whether the host's memory
/// for TCP is short, `sent` messages after the direction began.
///
/// There are many megabytes between short and refused, so small messages look
/// only now and then. Those that pass in between are less than one large
/// message.
#[inline(always)]
#[must_use]
pub const fn looks_at_the_host(size: u32, sent: u64) -> bool {
    size as u64 > PAGE || sent.is_multiple_of(16)
}

/// True when `size` bytes can be charged to a counter of pages, `usage` of
/// `max`, that others charge at the same time.
///
/// The receiver is charged some time after the decision, and a refusal then
/// fails the send (`bpf_tcp_ingress`). Each processor may be about to charge a
/// message. A task that waits for the receiver's lock is on none, so half of
/// the limit is left to such tasks.
///
/// `usage` may be above `max`: TCP forces charges that it cannot do without.
#[inline(always)]
#[must_use]
pub const fn can_be_charged(usage: u64, max: u64, size: u32, cpus: u32) -> bool {
    let free = max.saturating_sub(usage);
    let pages = size as u64 / PAGE + 2;
    free >= max / 2 && free >= pages + cpus as u64 * PAGES_UNDER_WAY
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each processor charges one message of any size, and those who wait
        /// charge the rest of half the limit. The message still fits.
        #[test]
        fn a_charge_holds_whatever_others_charge(
            usage in 0..1_u64 << 20, max in 0..1_u64 << 20, size in 0..=LARGEST_MESSAGE,
            others in prop::collection::vec(0..=LARGEST_MESSAGE, 1..64),
        ) {
            let cpus = u32::try_from(others.len()).unwrap();
            prop_assume!(can_be_charged(usage, max, size, cpus));
            let pages = |size: u32| u64::from(size).div_ceil(PAGE) + 1;
            let charged: u64 = others.iter().copied().map(pages).sum();
            prop_assert!(usage + charged + pages(size) <= max);
            prop_assert!(max - usage >= max / 2);
        }

        /// More room, a smaller message or fewer processors never forbid what
        /// was allowed.
        #[test]
        fn more_room_never_hurts(
            usage in 0..1_u64 << 20, max in 0..1_u64 << 20, size in 0..=LARGEST_MESSAGE,
            cpus in 1..256_u32, less in 0..1_u64 << 20,
        ) {
            prop_assume!(can_be_charged(usage, max, size, cpus));
            prop_assert!(can_be_charged(usage.saturating_sub(less), max, size, cpus));
            prop_assert!(can_be_charged(usage, max, size / 2, cpus));
            prop_assert!(can_be_charged(usage, max, size, cpus - 1));
        }
    }

    #[test]
    fn what_passes_unseen_is_less_than_a_large_message() {
        for size in [1, 64, 4096, 4097, BULK_MESSAGE] {
            let unseen = (0..1000).map(|sent| !looks_at_the_host(size, sent));
            let mut bytes = 0;
            for unseen in unseen {
                bytes = if unseen { bytes + size } else { 0 };
                assert!(bytes < BULK_MESSAGE);
            }
        }
        assert!(looks_at_the_host(1, 0));
    }

    #[test]
    fn no_limit_and_no_counter() {
        // An unlimited counter holds `PAGE_COUNTER_MAX`.
        assert!(can_be_charged(1 << 30, i64::MAX as u64 / PAGE, 65536, 4096));
        // An address that cannot be read gives 0.
        assert!(!can_be_charged(0, 0, 0, 1));
        assert!(!can_be_charged(300, 200, 1, 1));
    }
}
