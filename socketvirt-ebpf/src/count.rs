//! Counting: into `sv_stats`, and numbers that all CPUs share.

use core::{arch::asm, ffi::c_void, mem::offset_of};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::{
    reason::{REASONS, Reason},
    record::{
        flow::{Flow, Traffic},
        pair::Enrolment,
        stats::Stats,
        watch::WatchedEnd,
    },
    rule::worth::Sent,
};

use crate::{kernel::sock::Sock, maps::sv_stats};

/// Returns the counters of this CPU.
#[inline(always)]
pub fn stats() -> Option<&'static mut Stats> {
    let stats = sv_stats.get_ptr_mut(0)?;
    // SAFETY: a slot of this CPU; programs that count run with preemption or
    // migration off, and a counter that is lost to an interrupt is harmless.
    Some(unsafe { &mut *stats })
}

/// Adds one to a counter.
macro_rules! count {
    ($field:ident) => {
        if let Some(stats) = $crate::count::stats() {
            stats.$field += 1;
        }
    };
}
pub(crate) use count;

/// Brings `flow.total` up to what `tcp_sock` says and adds what is new to the
/// counters.
#[inline(always)]
pub fn flush(flow: &mut Flow, sock: Sock) {
    flow.total.stack_bytes = sock.bytes_sent();
    let segments = sock.data_segments_out();
    if matches!(flow.enrolment, Enrolment::None) {
        flow.total.stack_messages += u64::from(segments.wrapping_sub(flow.counted_segments));
    }
    flow.counted_segments = segments;
    let Some(stats) = stats() else { return };
    let (sum, total, counted) = (&mut stats.traffic, &flow.total, &flow.counted);
    sum.fast_bytes += total.fast_bytes - counted.fast_bytes;
    sum.fast_messages += total.fast_messages - counted.fast_messages;
    sum.stack_bytes += total.stack_bytes - counted.stack_bytes;
    sum.stack_messages += total.stack_messages - counted.stack_messages;
    sum.to_fast += total.to_fast - counted.to_fast;
    sum.to_stack += total.to_stack - counted.to_stack;
    flow.counted = flow.total;
}

/// Returns what a socket with a flow at this address has sent by both paths.
#[inline(always)]
pub fn sent(flow: u64, sock: Sock) -> Sent {
    let total = traffic(flow, offset_of!(Flow, total));
    Sent {
        bytes: total.fast_bytes + sock.bytes_sent(),
        messages: (total.fast_messages + total.stack_messages) as u32,
    }
}

/// Counts what a socket without a flow has sent.
#[inline(always)]
pub fn of_plain(end: &mut WatchedEnd, bytes: u64, messages: u32) {
    let Some(stats) = stats() else { return };
    // A connection that its program has cut off (`SO_LINGER` of 0) counts from 0
    // again (`tcp_disconnect`).
    if bytes < end.counted_bytes {
        return;
    }
    stats.traffic.stack_bytes += bytes - end.counted_bytes;
    stats.traffic.stack_messages += u64::from(messages.wrapping_sub(end.counted_messages));
    end.counted_bytes = bytes;
    end.counted_messages = messages;
}

/// Lets a new flow go on where its socket was counted without one.
#[inline(always)]
pub fn goes_on(flow: &mut Flow, end: &WatchedEnd) {
    flow.counted_segments = end.counted_messages;
    flow.total.stack_bytes = end.counted_bytes;
    flow.total.stack_messages = u64::from(end.counted_messages);
    flow.counted = flow.total;
}

/// Adds what a socket with a flow has sent and is not among the counters yet. The
/// flow goes with its socket.
#[inline(always)]
pub fn add_live(sum: &mut Traffic, end: &WatchedEnd) {
    let (flow, sock) = (end.flow, Sock(end.sock));
    if flow == 0 || sock.cookie() != end.cookie {
        return;
    }
    let total = traffic(flow, offset_of!(Flow, total));
    let counted = traffic(flow, offset_of!(Flow, counted));
    sum.fast_bytes += total.fast_bytes - counted.fast_bytes;
    sum.fast_messages += total.fast_messages - counted.fast_messages;
    // `connect(AF_UNSPEC)` sets a socket's own counter back.
    sum.stack_bytes += sock.bytes_sent().saturating_sub(counted.stack_bytes);
    sum.stack_messages += total.stack_messages - counted.stack_messages;
    sum.to_fast += total.to_fast - counted.to_fast;
    sum.to_stack += total.to_stack - counted.to_stack;
}

/// Returns the counters of the flow at this address, which its socket may
/// change meanwhile.
#[inline(always)]
fn traffic(flow: u64, offset: usize) -> Traffic {
    let mut traffic = Traffic::default();
    // SAFETY: the helper checks the source, and writes zeros when it fails.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut traffic).cast(),
            size_of::<Traffic>() as u32,
            (flow + offset as u64) as *const c_void,
        )
    };
    traffic
}

/// Counts a socket that ended without a redirected byte.
#[inline(always)]
pub fn left_on_stack(reason: Reason) {
    // SAFETY: a local variable. Volatile, because the compiler knows that a
    // reason is below the bound and drops the check that the verifier needs.
    let index = unsafe { core::ptr::read_volatile(&raw const reason) } as usize;
    if let Some(stats) = stats()
        && index < REASONS
    {
        stats.left_on_stack[index] += 1;
    }
}

/// Adds one to a number that all CPUs share, and returns the sum.
///
/// `core` has no such operation for this target (rustc 1.95); the kernel has
/// one since 5.12.
#[inline(always)]
pub fn next(number: *mut u64) -> u64 {
    let mut one = 1_u64;
    // SAFETY: the verifier checks the address.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({address} + 0), {value})",
            value = inout(reg) one,
            address = in(reg) number,
        );
    }
    one + 1
}
