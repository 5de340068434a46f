//! The fields that a message asks of its two sockets, read all at once.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;

use super::{
    load::{cast, offset, read},
    sock::Sock,
};

/// The fields of its sender that a message needs to know.
#[derive(Clone, Copy)]
pub struct Sender {
    /// `skc_state`.
    pub state: u8,
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// `tcp_sock.write_seq`.
    pub write_seq: u32,
}

/// The fields of its receiver that a message needs to know at every time.
#[derive(Clone, Copy)]
pub struct Receiver {
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// `sk_rmem_alloc`.
    pub queued: u32,
    /// `sk_rcvbuf`.
    pub rcvbuf: u32,
}

/// Loads a field of a cast socket, whose offset the verifier checks against the
/// kernel's own type.
macro_rules! field {
    ($typed:ident, $field:ident) => {{
        let offset = offset!($field) as usize;
        // SAFETY: as in `read`.
        unsafe { core::ptr::read_volatile($typed.add(offset).cast()) }
    }};
}

impl Sock {
    /// Returns the socket of an `sk_msg` program's context, with which the
    /// verifier permits no arithmetic. There is always one.
    #[inline(always)]
    pub fn of_message(sk: *mut c_void) -> Option<Self> {
        if offset!(tcp_sock_type) != 0 {
            return Some(Self(cast(sk as u64) as u64));
        }
        // SAFETY: the verifier checks `sk`.
        let sock = unsafe { bpf_skc_to_tcp_sock(sk) };
        (!sock.is_null()).then_some(Self(sock as u64))
    }

    /// Reads the fields of the sender of a message, whose context has shown its
    /// state. Asking before each whether a program may cast would cost more than
    /// the fields do.
    #[inline(always)]
    pub fn sender(self, state: u32) -> Sender {
        let state = state as u8;
        if offset!(tcp_sock_type) == 0 {
            return Sender {
                state,
                shutdown: self.shutdown(),
                write_seq: read(self.0, offset!(write_seq)),
            };
        }
        let sock = cast(self.0);
        Sender {
            state,
            shutdown: field!(sock, sk_shutdown),
            write_seq: field!(sock, write_seq),
        }
    }

    /// Reads the fields of a receiver.
    #[inline(always)]
    pub fn receiver(self) -> Receiver {
        if offset!(tcp_sock_type) == 0 {
            return Receiver {
                shutdown: self.shutdown(),
                queued: self.queued(),
                rcvbuf: self.rcvbuf(),
            };
        }
        let sock = cast(self.0);
        Receiver {
            shutdown: field!(sock, sk_shutdown),
            queued: field!(sock, sk_rmem_alloc),
            rcvbuf: field!(sock, sk_rcvbuf),
        }
    }
}
