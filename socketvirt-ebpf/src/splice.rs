//! Programs that splice: splice(2) out of an enrolled socket answers `EAGAIN`
//! for ever, so the sockets of such programs are kept off, and released when
//! they are already enrolled.

use aya_ebpf::programs::TracePointContext;

use crate::{
    kernel::{Sock, socket_of},
    maps::sv_spliced,
};

/// Offset of the first argument of a system call in its entry's record
/// (`events/syscalls/sys_enter_splice/format` in tracefs).
const FIRST_ARGUMENT: usize = 16;

/// splice(2) is called: remembers the connection that it reads from.
#[inline(always)]
pub fn on_call(ctx: &TracePointContext) {
    // SAFETY: within the record.
    let Ok(fd) = (unsafe { ctx.read_at::<u64>(FIRST_ARGUMENT) }) else {
        return;
    };
    let sock = socket_of(fd);
    if sock.0 != 0 {
        // A pipe enters something that no connection tells. A full map drops
        // the oldest.
        let _ = sv_spliced.insert(&sock.sequences(), &1, 0);
    }
}

/// Whether a program has spliced out of this socket.
#[inline(always)]
pub fn seen(sock: Sock) -> bool {
    sv_spliced.get_ptr(&sock.sequences()).is_some()
}
