//! The unified receive mode. What the stack delivers to an enrolled socket
//! joins the redirected messages in one queue.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_ANY,
        bpf_adj_room_mode::BPF_ADJ_ROOM_NET,
        sk_action::{SK_DROP, SK_PASS},
    },
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_adjust_room},
};
use socketvirt_common::rule::order::Next;

use crate::{
    count::count,
    kernel::{
        load::{offset, read},
        sock::Sock,
    },
    maps::sv_next,
};

/// Most bytes that one call takes away (`sk_skb_adjust_room`, net/core/filter.c).
const MOST_AT_ONCE: u32 = 0xfff;

/// Calls for the largest packet that there is: 512 KiB (`GSO_MAX_SIZE`).
const MOST_CALLS: u32 = 130;

/// Follows the socket's packets from here on. Returns false when there is no
/// room.
#[inline(always)]
pub fn follow(cookie: u64) -> bool {
    sv_next
        .insert(&cookie, &Next::default(), u64::from(BPF_ANY))
        .is_ok()
}

/// Forgets a socket that is not enrolled any more.
#[inline(always)]
pub fn forget(cookie: u64) {
    // There is none in the other receive mode.
    let _ = sv_next.remove(&cookie);
}

/// Handles a packet out of `sk_receive_queue`, under the socket's lock.
///
/// A sender may send again what has arrived, together with what has not, and
/// TCP queues such a packet whole (`tcp_data_queue`). Its readers skip what
/// they have by the sequence numbers. `tcp_read_skb` does not look at these.
/// (K-RECV-12 in `docs/kernel`.)
#[inline(always)]
pub fn on_packet(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the helper takes the context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    let Some(next) = sv_next.get_ptr_mut(&cookie) else {
        return SK_PASS;
    };
    // The context of the program is the kernel's own structure.
    let address = skb as u64;
    let (seq, end): (u32, u32) = (
        read(address, offset!(skb_seq)),
        read(address, offset!(skb_end_seq)),
    );
    // SAFETY: the entry stays until the socket, whose lock is held, leaves.
    let next = unsafe { &mut *next };
    // Read only for the first packet.
    let copied_seq = if next.told == 0 {
        Sock(read(address, offset!(skb_sk))).copied_seq()
    } else {
        0
    };
    let repeated = next.take(copied_seq, seq, end);
    if repeated == 0 || cut(skb, repeated) {
        SK_PASS
    } else {
        count!(packets_lost);
        SK_DROP
    }
}

/// Takes bytes away at the front of a packet. Returns false when there is no
/// memory for a copy of them, which the kernel makes first.
#[inline(always)]
fn cut(skb: *mut __sk_buff, bytes: u32) -> bool {
    let mut left = bytes;
    for _ in 0..MOST_CALLS {
        if left == 0 {
            return true;
        }
        let now = if left > MOST_AT_ONCE {
            MOST_AT_ONCE
        } else {
            left
        };
        // SAFETY: the helper takes the context.
        if unsafe { bpf_skb_adjust_room(skb, -(now as i32), BPF_ADJ_ROOM_NET, 0) } != 0 {
            return false;
        }
        left -= now;
    }
    left == 0
}
