//! Enrolling sockets and letting them go: the changes of `sv_fast`.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{
    bindings::{BPF_NOEXIST, bpf_sock_ops},
    helpers::generated::{
        bpf_jiffies64, bpf_ktime_get_ns, bpf_loop, bpf_map_delete_elem, bpf_map_update_elem,
        bpf_sock_hash_update,
    },
};
use socketvirt_common::{
    reason::Reason,
    record::{
        config::{Config, ReceiveMode},
        flow::{Flow, Path},
        pair::{End, EndKey, Enrolment},
    },
    rule::{
        begun::{self, Begun, Bytes},
        release::{self, Past},
        watched,
    },
};

use super::unify;
use crate::{
    count::count,
    kernel::{
        load::{number, read},
        psock::Psock,
        setting,
        sock::Sock,
    },
    maps::{handle, sv_config, sv_fast},
};

const EBUSY: i64 = 16;

/// Number of times that a visit looks for a call that is about to wait for its
/// lock. This takes some 300 ns, several times what such a call takes to get
/// there.
const LOOKS: u32 = 16;

/// Number of times that it looks again until calls on their way have arrived.
const MOST_LOOKS: u32 = 128;

/// Returns the key of a socket in `sv_fast`. It names the connection and not
/// the socket, so that a message of an old connection cannot reach the next one
/// of the same socket.
#[inline(always)]
fn key_of(flow: &Flow) -> EndKey {
    EndKey {
        id: flow.id,
        side: flow.side,
    }
}

/// Enrols the socket of a handshake callback.
#[inline(always)]
pub fn eagerly(ops: *mut bpf_sock_ops, flow: &mut Flow, end: &mut End, sock: Sock) {
    if !follow(flow) {
        return;
    }
    let mut key = key_of(flow);
    // SAFETY: the verifier checks all arguments.
    let answer = unsafe {
        bpf_sock_hash_update(
            ops,
            handle(&sv_fast),
            (&raw mut key).cast(),
            u64::from(BPF_NOEXIST),
        )
    };
    enrolled(flow, end, sock, Enrolment::Eager, answer);
}

/// True when an agent watches the data path: it finds what speaks against a socket once
/// that is enrolled.
#[inline(always)]
pub fn is_watched(config: &Config) -> bool {
    // SAFETY: takes nothing.
    watched::is_watched(config.watched_until, unsafe { bpf_jiffies64() })
}

/// True when nothing of an earlier enrolment is left that would harm this one.
#[inline(always)]
pub fn may_return(flow: &Flow, sock: Sock, config: &Config) -> bool {
    // Most were never enrolled.
    flow.psock == 0
        || release::may_return(&Past {
            psock_done: Psock(flow.psock).is_done(sock),
            releases: flow.releases,
            // SAFETY: takes nothing.
            age: unsafe { bpf_ktime_get_ns() }.saturating_sub(flow.released_at),
            first_pause: config.first_pause,
        })
}

/// True when the kernel has done with the psock of the last enrolment, or there was
/// none: asked without the socket's lock, by the address of its flow, or 0.
#[inline(always)]
pub fn has_done(flow: u64, sock: Sock) -> bool {
    flow == 0 || Psock(read(flow, offset_of!(Flow, psock) as u32)).is_done(sock)
}

/// Enrols the socket that a walk visits, whose lock the iterator holds.
#[inline(always)]
pub fn adopt(sk: *mut c_void, flow: &mut Flow, end: &mut End, sock: Sock, config: &Config) {
    if is_read(sock) {
        flow.reason = Reason::Unread;
        return;
    }
    if !follow(flow) {
        return;
    }
    let key = key_of(flow);
    // SAFETY: the verifier checks all arguments; for a SOCKHASH the value is
    // the socket itself.
    let answer = unsafe {
        bpf_map_update_elem(
            handle(&sv_fast),
            (&raw const key).cast(),
            sk,
            u64::from(BPF_NOEXIST),
        )
    };
    let unread = answer == 0 && !sock.receive_queue_empty();
    let bytes = if unread {
        place_of_bytes(sock)
    } else {
        Bytes::Psock
    };
    if matches!(bytes, Bytes::Stack) {
        leave_at_once(sk, flow, sock, config);
        return;
    }
    enrolled(flow, end, sock, Enrolment::Adopted, answer);
    if unread {
        count!(adopted_unread);
        if matches!(bytes, Bytes::Psock) {
            tell_of_bytes(sk, sock, config);
        }
    }
}

/// True when bytes are unread, and a call of the program has begun. It may be a
/// receive call that has chosen its function and looks at the TCP receive queue
/// alone: it would answer `EAGAIN` when the psock has the bytes.
#[inline(always)]
fn is_read(sock: Sock) -> bool {
    if sock.receive_queue_empty() {
        return false;
    }
    for _ in 0..LOOKS {
        if sock.in_call() {
            return true;
        }
    }
    false
}

/// Looks at the calls on a socket with a psock.
#[repr(C)]
struct Looks {
    sock: Sock,
    /// How often all were found to want the bytes in the psock, in a row.
    in_psock: u32,
    /// One wants them in the TCP receive queue.
    on_stack: u32,
}

/// Finds where the bytes of a socket with a psock have to be for the calls that have
/// begun. Those on their way arrive soon, and those that take no lock are soon gone.
#[inline(always)]
fn place_of_bytes(sock: Sock) -> Bytes {
    let mut looks = Looks {
        sock: Sock(number(sock.0)),
        in_psock: 0,
        on_stack: 0,
    };
    // SAFETY: the function has the form that the helper calls, and the verifier
    // checks it.
    unsafe {
        bpf_loop(
            MOST_LOOKS,
            (look_again as *const c_void).cast_mut(),
            (&raw mut looks).cast(),
            0,
        )
    };
    if looks.in_psock == LOOKS {
        Bytes::Psock
    } else if looks.on_stack != 0 {
        Bytes::Stack
    } else {
        Bytes::Unclear
    }
}

/// Looks once more, unless it is known by now.
extern "C" fn look_again(_: u64, looks: *mut Looks) -> i64 {
    // SAFETY: what `place_of_bytes` passed on.
    let looks = unsafe { &mut *looks };
    match sv_unread(looks.sock.0) {
        IN_PSOCK => looks.in_psock += 1,
        ON_STACK => looks.on_stack = 1,
        _ => looks.in_psock = 0,
    }
    i64::from(looks.in_psock == LOOKS || looks.on_stack != 0)
}

const IN_PSOCK: u32 = Bytes::Psock as u32;
const ON_STACK: u32 = Bytes::Stack as u32;

/// Returns where the bytes of the socket at this address have to be ([`Bytes`]), at a
/// moment at which each call is inside, at the lock, or on its way. Who is inside waits
/// for the lock, and does not leave.
///
/// The verifier looks at this function once, and not at each use.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unread(sock: u64) -> u32 {
    let sock = Sock(sock);
    // Most of the time there is none.
    if !sock.in_call() {
        return IN_PSOCK;
    }
    let inside = held(sock);
    let calls = sock.calls();
    let waiting = sock.waiting();
    begun::place(&Begun {
        calls,
        inside,
        waiting,
        inside_now: held(sock),
    }) as u32
}

/// Returns the number of calls that hold a socket's psock.
#[inline(always)]
fn held(sock: Sock) -> u64 {
    u64::from(sock.psock().refs().saturating_sub(1))
}

/// Takes a socket out again that the same visit has put in: nobody was told of
/// it, so nothing was redirected to it, and its bytes are where they were.
#[inline(always)]
fn leave_at_once(sk: *mut c_void, flow: &mut Flow, sock: Sock, config: &Config) {
    flow.psock = sock.psock().0;
    remove(flow);
    flow.reason = Reason::Unread;
    // A call that came inside in this very moment may answer `EAGAIN`: it is told
    // of the bytes once more.
    tell_of_bytes(sk, sock, config);
}

/// Makes the psock take what is unread in the TCP receive queue, because
/// `FIONREAD` of an enrolled socket does not look there. When a call of the
/// program came in the way, another visit follows.
#[inline(always)]
pub fn take_unread(sk: *mut c_void, sock: Sock, config: &Config) {
    if !sock.receive_queue_empty() && matches!(place_of_bytes(sock), Bytes::Psock) {
        tell_of_bytes(sk, sock, config);
    }
}

/// Has the kernel tell once more that there are bytes in the TCP receive queue
/// (`tcp_data_ready`): a psock takes them, and who waits for them is woken.
#[inline(always)]
fn tell_of_bytes(sk: *mut c_void, sock: Sock, config: &Config) {
    // Above 1, nothing would be told.
    if matches!(config.receive_mode, ReceiveMode::Unified) && sock.rcvlowat() <= 1 {
        setting::rcvlowat(sk, 1);
    }
}

/// Follows its packets before it is enrolled.
#[inline(always)]
fn follow(flow: &mut Flow) -> bool {
    let unified = sv_config
        .get(0)
        .is_some_and(|config| matches!(config.receive_mode, ReceiveMode::Unified));
    let followed = !unified || unify::follow(flow.cookie);
    if !followed {
        flow.reason = Reason::MapFull;
        count!(pairs_full);
    }
    followed
}

#[inline(always)]
fn enrolled(flow: &mut Flow, end: &mut End, sock: Sock, how: Enrolment, answer: i64) {
    if answer != 0 {
        unify::forget(flow.cookie);
        if answer == -EBUSY {
            flow.reason = Reason::Foreign;
            count!(enrol_busy);
        } else {
            flow.reason = Reason::Refused;
            count!(enrol_refused);
        }
        return;
    }
    flow.enrolment = how;
    flow.path = Path::Stack;
    flow.calm = 0;
    flow.since_empty = 0;
    // SAFETY: takes nothing.
    flow.stack_at = unsafe { bpf_jiffies64() };
    flow.reason = Reason::PeerNotEnrolled;
    flow.psock = sock.psock().0;
    end.enrolled_copied_seq = sock.copied_seq();
    end.leave = Reason::None;
    end.enrolment = how;
}

/// Stops redirecting; the socket stays enrolled until it may leave.
#[inline(always)]
pub fn stop(flow: &mut Flow, end: &mut End) {
    if matches!(flow.path, Path::Fast) {
        flow.total.to_stack += 1;
        flow.path = Path::Stack;
    }
    flow.peer_cookie = 0;
    flow.enrolment = Enrolment::Leaving;
    end.enrolment = Enrolment::Leaving;
}

/// Takes a socket out of `sv_fast`. Its redirect queue is freed.
#[inline(always)]
pub fn remove(flow: &mut Flow) {
    let key = key_of(flow);
    // SAFETY: the verifier checks all arguments.
    unsafe { bpf_map_delete_elem(handle(&sv_fast), (&raw const key).cast()) };
    unify::forget(flow.cookie);
    flow.enrolment = Enrolment::None;
    // SAFETY: takes nothing.
    flow.released_at = unsafe { bpf_ktime_get_ns() };
}
