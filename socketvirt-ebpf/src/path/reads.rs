//! Calls that read sockets, in the processes that make them: who reads is noted, and
//! what the program shows by it.

use core::ffi::c_void;

use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use socketvirt_common::{reason::Reason, rule::habit, uapi::MSG_DONTWAIT};

use super::{habits, vouch};
use crate::{
    kernel::{
        load::{offset, read},
        sock::Sock,
        task::{self, Reading},
    },
    program::reader,
};

/// Handles a call of `tcp_splice_read` (net/ipv4/tcp.c), whose first argument
/// is a `struct socket`. It answers `EAGAIN` for ever on an enrolled one.
#[inline(always)]
pub fn on_tcp_splice(ctx: &FEntryContext) {
    let socket = ctx.arg::<*const u8>(0) as u64;
    let sock = Sock(read(socket, offset!(socket_sk)));
    let cookie = sock.cookie();
    if !vouch::spliced(sock, cookie, reader::seat_of(cookie)) {
        habits::remember_either(sock, Reason::Splice);
    }
}

/// Handles a call that looks whether a TCP socket's receive buffer should grow
/// (`tcp_rcv_space_adjust`, `net/ipv4/tcp_input.c`): one that has read the socket.
///
/// splice(2) calls it by `tcp_read_sock`, and a receive on an enrolled socket in any
/// case, whether they have found bytes or not.
#[inline(always)]
pub fn on_read(ctx: &BtfTracePointContext) {
    let sk = ctx.arg(0);
    let Some(side) = reader::on_receive(sk) else {
        return;
    };
    let sock = Sock(sk as u64);
    match task::reading() {
        Reading::Splice => {
            let cookie = reader::cookie(sk);
            if !vouch::spliced(sock, cookie, reader::seat_of(cookie)) {
                habits::remember(sock, side, Reason::Splice);
            }
        }
        // The flags of most calls say nothing, whatever the mode of the file is.
        Reading::Receive(flags) if matches!(habit::of_receive(flags), Reason::None) => {}
        Reading::Receive(flags) => {
            let added = if sock.is_blocking() { 0 } else { MSG_DONTWAIT };
            habits::remember(sock, side, habit::of_receive(flags | added));
        }
    }
}

/// Handles a receive call that has ended on the socket at `sk`, with these
/// flags.
#[inline(always)]
pub fn on_receive(sk: *mut c_void, flags: u32) {
    // Programs of other protocols ask with MSG_TRUNC how long a message is.
    // They are not watched.
    if let Some(side) = reader::on_receive(sk) {
        habits::remember(Sock(sk as u64), side, habit::of_receive(flags));
    }
}
