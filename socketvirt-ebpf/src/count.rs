//! Counting: into `sv_stats`, and numbers that all CPUs share.

use core::{arch::asm, mem::offset_of};

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use socketvirt_common::{
    reason::{REASONS, Reason},
    record::{
        flow::{Flow, Traffic},
        pair::{Enrolment, Side},
        stats::Stats,
        watch::{Watched, WatchedEnd},
    },
    rule::{adoption, worth::Sent},
};

use crate::{
    kernel::{
        load::{copied, read},
        sock::Sock,
    },
    maps::{sv_stats, sv_watched},
    policy,
};

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

/// Counts the time that a pair has waited for its adoption, which is now. A pair whose
/// other end came back alone has not waited.
#[inline(always)]
pub fn adoption_time(pair: &mut Watched) {
    let Some(stats) = stats() else { return };
    if pair.asked_at == 0 {
        return;
    }
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    let time = now.saturating_sub(pair.asked_at);
    pair.asked_at = 0;
    stats.adoption_time += time;
    if let Some(count) = stats.adoption_times.get_mut(adoption::slot(time)) {
        *count += 1;
    }
}

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
    by_rule(flow);
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

/// Adds what is new to the counters of the flow's rule.
#[inline(always)]
fn by_rule(flow: &Flow) {
    let Some(pair) = sv_watched.get_ptr_mut(flow.place) else {
        return;
    };
    // SAFETY: a place of the array. The agent's programs write an end, and this
    // one, whose socket's flow is meant, only counters.
    let end = unsafe { &mut (*pair).ends };
    let end = match flow.side {
        Side::Client => &mut end[0],
        Side::Server => &mut end[1],
    };
    if end.rule != 0 && end.cookie == flow.cookie {
        policy::count::fast(end, &flow.total);
        policy::count::stack(end, flow.total.stack_bytes - flow.counted.stack_bytes);
    }
}

/// Returns what a socket with a flow at this address has sent by both paths.
#[inline(always)]
pub fn sent(flow: u64, sock: Sock) -> Sent {
    let total: Traffic = copied(flow, offset_of!(Flow, total) as u32);
    Sent {
        bytes: total.fast_bytes + sock.bytes_sent(),
        messages: (total.fast_messages + total.stack_messages) as u32,
    }
}

/// Counts what an open socket without a flow has sent.
#[inline(always)]
pub fn of_plain(end: &mut WatchedEnd, bytes: u64, messages: u32) {
    let Some(stats) = stats() else { return };
    // A connection that its program has cut off (`SO_LINGER` of 0) counts from 0
    // again (`tcp_disconnect`).
    if bytes < end.counted_bytes {
        return;
    }
    stats.traffic.stack_bytes += bytes - end.counted_bytes;
    policy::count::stack(end, bytes - end.counted_bytes);
    stats.traffic.stack_messages += u64::from(messages.wrapping_sub(end.counted_messages));
    end.counted_bytes = bytes;
    end.counted_messages = messages;
}

/// Counts what a socket without a flow has sent whose connection is over, from its
/// `first` byte. Nobody has told when: the socket may be gone, and its memory be
/// somebody else's. Nothing is counted then.
#[inline(always)]
pub fn of_ended(end: &mut WatchedEnd, first: u32) {
    let sock = Sock(end.sock);
    let sent = Sent {
        bytes: sock.bytes_sent(),
        messages: sock.data_segments_out(),
    };
    let counted = Sent {
        bytes: end.counted_bytes,
        messages: end.counted_messages,
    };
    if sent.is_of_ended(&counted, first, sock.write_seq()) && sock.cookie() == end.cookie {
        of_plain(end, sent.bytes, sent.messages);
    }
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
///
/// The socket may be sending, and be counted, meanwhile. What is counted is read first:
/// the total then is no less, unless the socket connects again, which sets both back.
#[inline(always)]
pub fn add_live(sum: &mut Traffic, end: &mut WatchedEnd) {
    let (flow, sock) = (end.flow, Sock(end.sock));
    if flow == 0 || sock.cookie() != end.cookie {
        return;
    }
    let counted: Traffic = copied(flow, offset_of!(Flow, counted) as u32);
    let total: Traffic = copied(flow, offset_of!(Flow, total) as u32);
    // The memory may be another socket's by now.
    if read::<u64>(flow, offset_of!(Flow, cookie) as u32) != end.cookie {
        return;
    }
    policy::count::fast(end, &total);
    sum.fast_bytes += total.fast_bytes.saturating_sub(counted.fast_bytes);
    sum.fast_messages += total.fast_messages.saturating_sub(counted.fast_messages);
    sum.stack_bytes += sock.bytes_sent().saturating_sub(counted.stack_bytes);
    sum.stack_messages += total.stack_messages.saturating_sub(counted.stack_messages);
    sum.to_fast += total.to_fast.saturating_sub(counted.to_fast);
    sum.to_stack += total.to_stack.saturating_sub(counted.to_stack);
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
    add(number, 1) + 1
}

/// Adds to a number that other CPUs change too, and returns what it was.
#[inline(always)]
pub fn add(number: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the verifier checks the address.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({address} + 0), {value})",
            value = inout(reg) value,
            address = in(reg) number,
        );
    }
    value
}
