//! Socket options that a visit sets, to a value that the socket has or had. The
//! kernel does something beside, and that is what they are set for.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_getsockopt, bpf_setsockopt};

/// include/uapi/asm-generic/socket.h.
const SOL_SOCKET: i32 = 1;
/// include/uapi/asm-generic/socket.h.
const SO_RCVLOWAT: i32 = 18;
/// include/uapi/linux/in.h.
const IPPROTO_TCP: i32 = 6;
/// include/uapi/linux/tcp.h.
const TCP_NOTSENT_LOWAT: i32 = 25;
/// `TCP_BPF_SOCK_OPS_CB_FLAGS`, include/uapi/linux/bpf.h, since 6.12.
const TCP_BPF_SOCK_OPS_CB_FLAGS: i32 = 1008;
/// `BPF_SOCK_OPS_STATE_CB_FLAG`, include/uapi/linux/bpf.h.
const STATE_CB_FLAG: u32 = 4;

/// Sets `SO_RCVLOWAT`, which also tells of what has arrived (`tcp_set_rcvlowat`
/// calls `tcp_data_ready`). Readers are woken, and in unified mode the psock
/// takes the bytes. (K-ENROL-1 in `docs/kernel`.)
#[inline(always)]
pub fn rcvlowat(sk: *mut c_void, bytes: u32) {
    set(sk, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

/// Sets `TCP_NOTSENT_LOWAT`, which also wakes who waits for room to send
/// (`do_tcp_setsockopt`).
#[inline(always)]
pub fn notsent_lowat(sk: *mut c_void, bytes: u32) {
    set(sk, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes);
}

/// Has the socket's end reported, so that its entries go with it. Returns false
/// where the kernel cannot (before 6.12).
#[inline(always)]
pub fn tell_of_its_end(sk: *mut c_void) -> bool {
    let mut flags = 0_u32;
    // SAFETY: the verifier checks all arguments.
    unsafe {
        bpf_getsockopt(
            sk,
            IPPROTO_TCP,
            TCP_BPF_SOCK_OPS_CB_FLAGS,
            (&raw mut flags).cast(),
            size_of::<u32>() as i32,
        )
    };
    set(
        sk,
        IPPROTO_TCP,
        TCP_BPF_SOCK_OPS_CB_FLAGS,
        flags | STATE_CB_FLAG,
    )
}

/// Returns false when it is refused, as for a value that was never set.
#[inline(always)]
fn set(sk: *mut c_void, level: i32, option: i32, mut value: u32) -> bool {
    // SAFETY: the verifier checks all arguments.
    let answer = unsafe {
        bpf_setsockopt(
            sk,
            level,
            option,
            (&raw mut value).cast(),
            size_of::<u32>() as i32,
        )
    };
    answer == 0
}
