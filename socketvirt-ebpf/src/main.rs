//! The BPF programs of socketvirt. These are entry points only; each delegates
//! to the module of its concern.
#![no_std]
#![no_main]
// For one atomic addition; the target needs an unstable `core` in any case.
#![feature(asm_experimental_arch)]
#![expect(
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "the macros make the entry points' signatures and put their documentation on an inner function"
)]
#![expect(
    clippy::inline_always,
    reason = "a call that is left costs at every message, and the verifier loses track across it"
)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a record that is passed by value is copied to the stack, which holds 512 bytes"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's own types are narrower or signed where the helpers' are not"
)]

mod count;
mod filter;
mod flows;
mod kernel;
mod maps;
mod path;
mod policy;
mod program;
mod scratch;
mod table;

use aya_ebpf::{
    bindings::{bpf_sock_ops, sk_action::SK_PASS},
    macros::{
        btf_tracepoint, cgroup_sock, fentry, raw_tracepoint, sk_msg, sock_ops, stream_verdict,
    },
    programs::{
        BtfTracePointContext, FEntryContext, RawTracePointContext, SkBuffContext, SkMsgContext,
        SockContext, SockOpsContext,
    },
};

use path::{act, discover, handshake, join, message, reads, unify, watch};
use program::{processes, reader, rings};

/// Watches connections come and go, attached to a cgroup.
#[sock_ops]
pub fn sv_sock_ops(ctx: SockOpsContext) -> u32 {
    let ops: *mut bpf_sock_ops = ctx.ops;
    handshake::on_event(ops);
    1
}

/// Runs first at each message, attached to `sv_fast`.
///
/// Sockets keep the program that was attached when they were enrolled, be it of a
/// build before. So this one only calls through `sv_dispatch`, where the program
/// behind it can be replaced under them.
///
/// **A contract with every build to come**: the program is of type `sk_msg`, entry 0
/// of `sv_dispatch` holds what decides, which gets the message as it came and returns
/// for this one; an empty entry passes the message to the stack. A build that cannot
/// keep this raises `MEANING` (`socketvirt/src/bpf/object.rs`), so that nothing of
/// the build before is taken over.
#[sk_msg]
pub fn sv_msg_entry(ctx: SkMsgContext) -> u32 {
    message::dispatch(&ctx);
    SK_PASS
}

/// Decides about one message; called through `sv_dispatch`.
#[sk_msg]
pub fn sv_msg(ctx: SkMsgContext) -> u32 {
    message::on_message(&ctx);
    SK_PASS
}

/// Passes everything in the unified receive mode, attached to `sv_fast`: what
/// the stack delivers joins the redirected messages in one queue.
///
/// Sockets keep it too, and it calls nothing that could be replaced: a stream goes on
/// with the program that it began with, which keeps the same `sv_next`. A build whose
/// own must not go on beside it raises `MEANING`.
#[stream_verdict]
pub fn sv_unify(ctx: SkBuffContext) -> u32 {
    unify::on_packet(ctx.skb.skb)
}

/// Watches splice(2) out of TCP sockets, where the kernel permits it.
#[fentry(function = "tcp_splice_read")]
pub fn sv_tcp_splice(ctx: FEntryContext) -> u32 {
    reads::on_tcp_splice(&ctx);
    0
}

/// Watches which call reads a TCP socket, where the kernel permits no other
/// way.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn sv_read(ctx: BtfTracePointContext) -> u32 {
    reads::on_read(&ctx);
    0
}

/// Watches who receives, and with which flags.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sv_receive(ctx: BtfTracePointContext) -> u32 {
    reads::on_receive(ctx.arg(0), ctx.arg::<i32>(2) as u32);
    0
}

/// Runs when a process begins to run another program.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sv_exec(ctx: BtfTracePointContext) -> u32 {
    reader::began();
    processes::began(ctx.arg::<*const u8>(0) as u64);
    0
}

/// Runs when a program makes an `io_uring`.
#[btf_tracepoint(function = "io_uring_create")]
pub fn sv_ring(ctx: BtfTracePointContext) -> u32 {
    rings::made(ctx.arg::<u32>(4));
    processes::made_ring();
    0
}

/// Runs when a program submits a request to an `io_uring`.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn sv_submit(ctx: BtfTracePointContext) -> u32 {
    rings::submitted(ctx.arg(0));
    0
}

/// Runs when a process is moved to another cgroup.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn sv_moved(ctx: BtfTracePointContext) -> u32 {
    processes::came(
        ctx.arg::<*const u8>(0) as u64,
        ctx.arg::<*const u8>(2) as u64,
    );
    0
}

/// Watches the pairs. The agent runs it, with a time and what `watch::Run` says
/// as arguments.
#[raw_tracepoint]
pub fn sv_watch(ctx: RawTracePointContext) -> u32 {
    watch::run(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// Says which rule of the policy decides about a connection that is told in the
/// arguments, see `policy::ask::decide`; for tests, and to measure.
///
/// Without the macro, which answers 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub extern "C" fn sv_decide(ctx: *mut core::ffi::c_void) -> u32 {
    policy::ask::decide(&RawTracePointContext::new(ctx))
}

/// Visits one TCP socket of a namespace, under its lock: acts on a pair that
/// waits.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn sv_act(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_tcp(ctx, |meta, sk, sock| {
        if act::on_socket(sk, sock) {
            // The reader of a byte learns that nothing is left to be done here.
            table::iterate::write_bytes(meta, &0_u8);
        }
    });
    0
}

/// Visits one open file of the host, for the walk that looks who else holds a
/// socket.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn sv_holders(ctx: *mut table::iterate::IterFile) -> i32 {
    reader::on_file(ctx);
    0
}

/// Visits one TCP socket of a namespace, for the walk at the start.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn sv_discover(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_tcp(ctx, |_, sk, sock| discover::on_socket(sk, sock));
    0
}

/// Visits one TCP socket of a namespace, for the table.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn sv_table_tcp(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_socket(ctx);
    0
}

/// Visits one UDP socket of a namespace, for the table.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/udp")]
pub extern "C" fn sv_table_udp(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_socket(ctx);
    0
}

/// Visits one Unix socket of a namespace, for the table.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/unix")]
pub extern "C" fn sv_table_unix(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_socket(ctx);
    0
}

/// Visits one open file of the host, for the table.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn sv_table_file(ctx: *mut table::iterate::IterFile) -> i32 {
    table::iterate::on_file(ctx);
    0
}

/// Runs when an IP socket is made, for the table.
#[cgroup_sock(sock_create)]
pub fn sv_table_create(ctx: SockContext) -> i32 {
    table::hooks::created(ctx.sock);
    1
}

/// Runs when an IPv4 socket is bound, for the table.
#[cgroup_sock(post_bind4)]
pub fn sv_table_bind4(ctx: SockContext) -> i32 {
    table::hooks::bound(ctx.sock, false);
    1
}

/// Runs when an IPv6 socket is bound, for the table.
#[cgroup_sock(post_bind6)]
pub fn sv_table_bind6(ctx: SockContext) -> i32 {
    table::hooks::bound(ctx.sock, true);
    1
}

/// Runs when an IP socket is closed, for the table.
#[cgroup_sock(sock_release)]
pub fn sv_table_close(ctx: SockContext) -> i32 {
    table::hooks::released(ctx.sock);
    1
}

/// Runs when TCP changes the state of a socket, for the table.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn sv_table_state(ctx: BtfTracePointContext) -> i32 {
    let sk: *const core::ffi::c_void = ctx.arg(0);
    table::hooks::changed(sk, ctx.arg(1), ctx.arg(2));
    0
}

/// Writes what the agent knows of one TCP socket, for the table.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn sv_table_join(ctx: *mut table::iterate::IterSocket) -> i32 {
    table::iterate::on_tcp(ctx, join::on_socket);
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
