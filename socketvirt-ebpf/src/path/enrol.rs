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
        release::{self, Past},
        watched,
    },
};

use super::unify;
use crate::{
    count::count,
    kernel::{load::read, psock::Psock, setting, sock::Sock},
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
    let calls = if unread {
        Calls::of(sock)
    } else {
        Calls::Inside
    };
    if matches!(calls, Calls::Outside) {
        leave_at_once(sk, flow, sock, config);
        return;
    }
    enrolled(flow, end, sock, Enrolment::Adopted, answer);
    if unread {
        count!(adopted_unread);
        if matches!(calls, Calls::Inside) {
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
        if sock.calls() != 0 {
            return true;
        }
    }
    false
}

/// The calls of the program that have begun on a socket with a psock.
///
/// A call that chose its function before the socket was enrolled looks at the TCP
/// receive queue alone, and answers `EAGAIN` when the psock has taken the bytes, as
/// it does at the next packet. One that chose it later holds the psock, and answers
/// `EAGAIN` when the socket has left and the bytes lie in that queue. (K-RECV-3 and
/// K-ENROL-5 in `docs/kernel`.)
#[derive(Clone, Copy)]
enum Calls {
    /// Each holds the psock, or there is none: the socket may stay.
    Inside,
    /// One waits for the lock, and none holds the psock: the socket may leave.
    Outside,
    /// Anything else.
    Unclear,
}

/// Looks at a socket's calls.
#[repr(C)]
struct Looks {
    sock: Sock,
    /// How often all were found inside, in a row.
    inside: u32,
    /// One was found outside.
    outside: u32,
}

impl Calls {
    /// Finds where the calls of a socket's program are. Those on their way arrive
    /// soon, and those that take no lock are soon gone.
    #[inline(always)]
    fn of(sock: Sock) -> Self {
        let mut looks = Looks {
            sock,
            inside: 0,
            outside: 0,
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
        if looks.inside == LOOKS {
            Self::Inside
        } else if looks.outside != 0 {
            Self::Outside
        } else {
            Self::Unclear
        }
    }

    /// A look at a moment at which each call is inside, at the lock, or on its way.
    #[inline(always)]
    fn look(sock: Sock) -> Self {
        // Who is inside waits for the lock, and does not leave.
        let inside = sock.psock().refs().saturating_sub(1);
        if sock.calls() <= u64::from(inside) {
            Self::Inside
        } else if sock.lock_is_awaited() && sock.psock().refs() <= 1 {
            Self::Outside
        } else {
            Self::Unclear
        }
    }
}

/// Looks once more, unless it is known by now.
extern "C" fn look_again(_: u64, looks: *mut Looks) -> i64 {
    // SAFETY: what `Calls::of` passed on.
    let looks = unsafe { &mut *looks };
    match Calls::look(looks.sock) {
        Calls::Inside => looks.inside += 1,
        Calls::Outside => looks.outside = 1,
        Calls::Unclear => looks.inside = 0,
    }
    i64::from(looks.inside == LOOKS || looks.outside != 0)
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
    if !sock.receive_queue_empty() && matches!(Calls::of(sock), Calls::Inside) {
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
