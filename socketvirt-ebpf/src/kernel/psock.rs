//! The psock of an enrolled socket: what a socket map keeps beside it.

use super::{
    load::{offset, read},
    sock::Sock,
};

/// The address of a `struct sk_psock`, or 0.
#[derive(Clone, Copy)]
pub struct Psock(pub u64);

impl Psock {
    /// True when the socket has one.
    #[inline(always)]
    pub fn exists(self) -> bool {
        self.0 != 0
    }

    /// True when the kernel has done with it, so that no work of it is left.
    ///
    /// It belongs to `sk` and has its program until `sk_psock_destroy`. That
    /// runs after a grace period, and has waited for `sk_psock_backlog`.
    /// Afterwards its memory is whatever it is. (K-ENROL-2 in `docs/kernel`.)
    #[inline(always)]
    pub fn is_done(self, sk: Sock) -> bool {
        self.0 == 0
            || read::<u64>(self.0, offset!(psock_sk)) != sk.0
            || read::<u64>(self.0, offset!(psock_program)) == 0
    }

    /// `refcnt`.
    #[inline(always)]
    pub fn refs(self) -> u32 {
        read(self.0, offset!(psock_refcnt))
    }

    /// True when `ingress_msg` is empty.
    #[inline(always)]
    pub fn queue_empty(self) -> bool {
        let head = self.0 + u64::from(offset!(psock_ingress_msg));
        read::<u64>(head, 0) == head
    }

    /// True when `ingress_msg` holds the peer's FIN and no byte. The FIN lies
    /// there like a message, and stays when it is read.
    #[inline(always)]
    pub fn holds_end_alone(self) -> bool {
        let head = self.0 + u64::from(offset!(psock_ingress_msg));
        let first: u64 = read(head, 0);
        let message = first - u64::from(offset!(msg_list));
        read::<u64>(first, 0) == head && read::<u32>(message, offset!(msg_size)) == 0
    }
}

impl Sock {
    /// The psock of an enrolled socket, behind the flag bits of
    /// `sk_user_data` (`SK_USER_DATA_PTRMASK`, include/net/sock.h).
    #[inline(always)]
    pub fn psock(self) -> Psock {
        Psock(read::<u64>(self.0, offset!(sk_user_data)) & !7)
    }

    /// No packet waits in `sk_receive_queue` or for the psock.
    #[inline(always)]
    pub fn backlog_empty(self, psock: Psock) -> bool {
        self.receive_queue_empty() && read::<u32>(psock.0, offset!(psock_ingress_skb_len)) == 0
    }
}
