//! Calls that nix has no name for, or whose exact answer counts.

use std::{
    os::fd::{BorrowedFd, RawFd},
    thread,
    time::Duration,
};

use nix::errno::Errno;

use super::step::{Flag, Opt};

/// `TCP_INQ`, include/uapi/linux/tcp.h.
const TCP_INQ: i32 = 36;

/// A call's answer.
pub(super) type Answer = Result<usize, Errno>;

/// The `MSG_*` bits.
pub(super) fn bits(flags: &[Flag]) -> i32 {
    let bit = |flag: &Flag| match flag {
        Flag::Peek => libc::MSG_PEEK,
        Flag::Waitall => libc::MSG_WAITALL,
        Flag::Dontwait => libc::MSG_DONTWAIT,
        Flag::Trunc | Flag::Null => libc::MSG_TRUNC,
        Flag::Oob => libc::MSG_OOB,
        Flag::Errqueue => libc::MSG_ERRQUEUE,
        Flag::More => libc::MSG_MORE,
        Flag::Zerocopy => libc::MSG_ZEROCOPY,
    };
    flags.iter().fold(0, |all, flag| all | bit(flag))
}

/// Level and name.
const fn place(opt: Opt) -> (i32, i32) {
    const SOCKET: i32 = libc::SOL_SOCKET;
    const TCP: i32 = libc::IPPROTO_TCP;
    match opt {
        Opt::Rcvlowat => (SOCKET, libc::SO_RCVLOWAT),
        Opt::Rcvtimeo => (SOCKET, libc::SO_RCVTIMEO),
        Opt::Sndtimeo => (SOCKET, libc::SO_SNDTIMEO),
        Opt::Linger => (SOCKET, libc::SO_LINGER),
        Opt::Rcvbuf => (SOCKET, libc::SO_RCVBUF),
        Opt::Sndbuf => (SOCKET, libc::SO_SNDBUF),
        Opt::Timestamp => (SOCKET, libc::SO_TIMESTAMP),
        Opt::Oobinline => (SOCKET, libc::SO_OOBINLINE),
        Opt::Peekoff => (SOCKET, libc::SO_PEEK_OFF),
        Opt::Zerocopy => (SOCKET, libc::SO_ZEROCOPY),
        Opt::Error => (SOCKET, libc::SO_ERROR),
        Opt::Keepalive => (SOCKET, libc::SO_KEEPALIVE),
        Opt::Keepidle => (TCP, libc::TCP_KEEPIDLE),
        Opt::Nodelay => (TCP, libc::TCP_NODELAY),
        Opt::Cork => (TCP, libc::TCP_CORK),
        Opt::Quickack => (TCP, libc::TCP_QUICKACK),
        Opt::Usertimeout => (TCP, libc::TCP_USER_TIMEOUT),
        Opt::Inq => (TCP, TCP_INQ),
        Opt::Notsentlowat => (TCP, libc::TCP_NOTSENT_LOWAT),
        Opt::Defer => (TCP, libc::TCP_DEFER_ACCEPT),
        Opt::Fastopen => (TCP, libc::TCP_FASTOPEN),
    }
}

/// The option's value as the kernel has it: one or two words of 4 or 8 bytes.
fn value_of(opt: Opt, value: i32) -> Vec<u8> {
    let wide = i64::from(value);
    match opt {
        Opt::Rcvtimeo | Opt::Sndtimeo => [(wide / 1000), (wide % 1000) * 1000]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect(),
        Opt::Linger => [i32::from(value >= 0), value.max(0)]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect(),
        _ => value.to_ne_bytes().to_vec(),
    }
}

/// setsockopt(2).
pub(super) fn set(fd: RawFd, opt: Opt, value: i32) -> Answer {
    let (level, name) = place(opt);
    let bytes = value_of(opt, value);
    let length = libc::socklen_t::try_from(bytes.len()).unwrap_or(0);
    // SAFETY: pointer and length describe the local bytes.
    let answer = unsafe { libc::setsockopt(fd, level, name, bytes.as_ptr().cast(), length) };
    of(answer)
}

/// getsockopt(2): the value in words of 4 bytes.
pub(super) fn get(fd: RawFd, opt: Opt) -> Result<Vec<i32>, Errno> {
    let (level, name) = place(opt);
    let bytes = get_bytes(fd, level, name)?;
    let words = bytes.chunks_exact(4);
    Ok(words
        .map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        .collect())
}

fn get_bytes(fd: RawFd, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; 256];
    let mut length: libc::socklen_t = 256;
    // SAFETY: pointer and length describe the local bytes.
    let answer =
        unsafe { libc::getsockopt(fd, level, name, bytes.as_mut_ptr().cast(), &raw mut length) };
    of(answer)?;
    bytes.truncate(usize::try_from(length).unwrap_or(0));
    Ok(bytes)
}

/// The used part of `struct tcp_info`. Reading it takes the socket's lock:
/// calls under way on another CPU are over afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) state: u8,
    /// Bytes that came by the stack, a FIN counted as one.
    pub(super) received: u64,
    /// Bytes given to the stack and not sent yet.
    pub(super) unsent: u32,
    /// Bytes sent by the stack, each once.
    pub(super) sent: u64,
}

/// `TCP_CLOSE`, `include/net/tcp_states.h`.
pub(super) const CLOSED: u8 = 7;

/// A state by its name. What an acknowledgement under way turns into another
/// is one state here.
pub(super) const fn state(number: u8) -> &'static str {
    match number {
        1 => "ESTABLISHED",
        4 | 5 => "FIN_WAIT",
        CLOSED | 9 | 11 => "closed",
        8 => "CLOSE_WAIT",
        _ => "another state",
    }
}

impl Info {
    /// Offsets of `struct tcp_info`, include/uapi/linux/tcp.h; libc's copy
    /// ends before the byte counters.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        use std::os::fd::AsRawFd as _;
        let bytes = get_bytes(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO)?;
        let wide = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(word)
        };
        if bytes.len() < 216 {
            return Err(Errno::EINVAL);
        }
        let mut unsent = [0; 4];
        unsent.copy_from_slice(&bytes[144..148]);
        Ok(Self {
            state: bytes[0],
            received: wide(128),
            unsent: u32::from_ne_bytes(unsent),
            sent: wide(200) - wide(208),
        })
    }
}

/// An ioctl that gives an int.
pub(super) fn ioctl(fd: RawFd, request: libc::c_ulong) -> Answer {
    let mut value: i32 = 0;
    // SAFETY: the requests used here write one int to the pointer.
    let answer = unsafe { libc::ioctl(fd, request, &raw mut value) };
    of(answer).map(|_| usize::try_from(value).unwrap_or(usize::MAX))
}

/// A C answer.
pub(super) fn of(answer: impl TryInto<isize>) -> Answer {
    let answer: isize = answer.try_into().unwrap_or(-1);
    usize::try_from(answer).map_err(|_| Errno::last())
}

/// An answer in words.
pub(super) fn word(answer: Answer) -> String {
    match answer {
        Ok(n) => n.to_string(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// Poll events by their names.
pub(super) fn events(events: i16) -> String {
    const NAMES: [(i16, &str); 6] = [
        (libc::POLLIN, "in"),
        (libc::POLLPRI, "pri"),
        (libc::POLLOUT, "out"),
        (libc::POLLRDHUP, "rdhup"),
        (libc::POLLHUP, "hup"),
        (libc::POLLERR, "err"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| events & bit != 0);
    let names: Vec<_> = set.map(|(_, name)| *name).collect();
    if names.is_empty() {
        "quiet".to_owned()
    } else {
        names.join("+")
    }
}

/// Bytes that are not acknowledged, once there are none or after a second,
/// which is longer than an acknowledgement is delayed.
pub(super) fn outq(fd: i32) -> String {
    for _ in 0..1000 {
        match ioctl(fd, libc::TIOCOUTQ) {
            Ok(0) => return "0".to_owned(),
            Ok(_) => thread::sleep(Duration::from_millis(1)),
            Err(errno) => return format!("{errno:?}"),
        }
    }
    "not acknowledged".to_owned()
}
