//! The flows of sockets, in the sockets' own storage.

use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_SK_STORAGE_GET_F_CREATE, helpers::generated::bpf_sk_storage_get};
use socketvirt_common::record::flow::Flow;

use crate::{
    kernel::load::offset,
    maps::{handle, sv_flow},
};

/// Returns the flow of a socket, if it has one.
#[inline(always)]
pub fn of(sk: *mut c_void) -> Option<&'static mut Flow> {
    // SAFETY: the verifier checks `sk`; storage stays while the program runs.
    unsafe {
        bpf_sk_storage_get(handle(&sv_flow), sk, core::ptr::null_mut(), 0)
            .cast::<Flow>()
            .as_mut()
    }
}

/// Returns the flow of a socket, made when missing.
#[inline(always)]
pub fn made(sk: *mut c_void) -> Option<&'static mut Flow> {
    // SAFETY: as above; new storage is zeroed, which is a valid `Flow`.
    unsafe {
        bpf_sk_storage_get(
            handle(&sv_flow),
            sk,
            core::ptr::null_mut(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
        .cast::<Flow>()
        .as_mut()
    }
}

/// Returns the flow of the socket of a trace point, if it has one. Most of a
/// host have no storage at all, which takes no call to see.
#[inline(always)]
pub fn of_traced(sk: *mut c_void) -> Option<&'static mut Flow> {
    let storage = sk
        .cast::<u8>()
        .wrapping_add(offset!(sk_bpf_storage) as usize);
    // SAFETY: the verifier knows the argument as a `struct sock`, and checks
    // the offset.
    let storage: u64 = unsafe { core::ptr::read_volatile(storage.cast()) };
    if storage == 0 { None } else { of(sk) }
}
