//! The context of a callback of `sock_ops`.

use aya_ebpf::{bindings::bpf_sock_ops, helpers::generated::bpf_skc_to_tcp_sock};

use crate::kernel::sock::Sock;

/// A field of the context, read once: the verifier does not follow a merged
/// load of the context pointer.
macro_rules! field {
    ($ops:expr, $($field:tt)+) => {
        // SAFETY: a field of the context, at an offset that the verifier checks.
        unsafe { core::ptr::read_volatile(&raw const (*$ops).$($field)+) }
    };
}
pub(super) use field;

/// The callback's socket, when it is a full one.
#[inline(always)]
pub fn socket(ops: *mut bpf_sock_ops) -> Option<(*mut core::ffi::c_void, Sock)> {
    let sk: *mut core::ffi::c_void = field!(ops, __bindgen_anon_2.sk).cast();
    if sk.is_null() {
        return None;
    }
    // SAFETY: the verifier checks `sk`.
    let tcp_sock = unsafe { bpf_skc_to_tcp_sock(sk) };
    if tcp_sock.is_null() {
        return None;
    }
    Some((sk, Sock(tcp_sock as u64)))
}
