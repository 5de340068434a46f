//! Ending a connection as its program would by `SOCK_DESTROY`: `bpf_sock_destroy`, a
//! function of the kernel since Linux 6.5, which a visit may call under the socket's
//! lock.

use core::{arch::asm, ffi::c_void};

use socketvirt_common::record::layout::DESTROY;

use super::load::offset;

/// Resets the connection of the socket that a visit has been given: its program gets
/// `ECONNABORTED`, and the peer a reset. Returns false where this kernel cannot.
#[inline(always)]
pub fn destroy(sk: *mut c_void) -> bool {
    if offset!(destroy_function) == 0 {
        return false;
    }
    let answer: u64;
    // SAFETY: a call as of any other function; the verifier checks its argument. The
    // agent writes its number into the instruction.
    unsafe {
        asm!(
            ".8byte {call}",
            call = const DESTROY,
            inlateout("r1") sk => _,
            lateout("r0") answer,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack),
        );
    }
    answer as i32 == 0
}
