//! One call, made by whichever thread or process: only numbers and bytes go
//! in and come out.

use std::{
    io::{Read, Write},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

use nix::errno::Errno;

use super::{
    step::{By, Call, Flag},
    sys::{self, Answer},
    uring,
};
use crate::net;

/// Length of the pieces of scattered calls.
const PIECE: usize = 7;

/// A call to be made.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) fd: RawFd,
    pub(super) epoll: RawFd,
    pub(super) call: Call,
    /// The bytes of a send.
    pub(super) bytes: Vec<u8>,
}

/// The answer of a call.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answer: Answer,
    /// The bytes of a receive.
    pub(super) data: Vec<u8>,
    /// Everything else to be seen, in words.
    pub(super) note: String,
}

impl Done {
    fn plain(answer: Answer) -> Self {
        Self {
            answer,
            data: Vec::new(),
            note: String::new(),
        }
    }

    fn noted(answer: Answer, note: impl Into<String>) -> Self {
        Self {
            answer,
            data: Vec::new(),
            note: note.into(),
        }
    }

    /// For another process.
    pub(super) fn write(&self, to: &mut impl Write) {
        let (count, errno) = match self.answer {
            Ok(n) => (n as u64, 0),
            Err(errno) => (0, errno as i32),
        };
        let _ = to.write_all(&count.to_ne_bytes());
        let _ = to.write_all(&errno.to_ne_bytes());
        let _ = to.write_all(&(self.note.len() as u64).to_ne_bytes());
        let _ = to.write_all(self.note.as_bytes());
        let _ = to.write_all(&self.data);
    }

    /// From another process; `None` when it sent nothing.
    pub(super) fn read(from: &mut impl Read) -> Option<Self> {
        let (mut count, mut errno, mut length) = ([0; 8], [0; 4], [0; 8]);
        from.read_exact(&mut count).ok()?;
        from.read_exact(&mut errno).ok()?;
        from.read_exact(&mut length).ok()?;
        let mut note = vec![0; usize::try_from(u64::from_ne_bytes(length)).ok()?];
        from.read_exact(&mut note).ok()?;
        let mut data = Vec::new();
        from.read_to_end(&mut data).ok()?;
        let answer = match i32::from_ne_bytes(errno) {
            0 => Ok(usize::try_from(u64::from_ne_bytes(count)).ok()?),
            errno => Err(Errno::from_raw(errno)),
        };
        Some(Self {
            answer,
            data,
            note: String::from_utf8(note).ok()?,
        })
    }
}

/// Makes the call.
pub(super) fn perform(task: &Task) -> Done {
    let fd = task.fd;
    match &task.call {
        Call::Send(_, by, flags) => Done::plain(send(fd, *by, sys::bits(flags), &task.bytes)),
        Call::Recv(size, by, flags) => receive(fd, *size, *by, flags),
        Call::Pollin => poll(fd, libc::POLLIN, -1),
        Call::Poll => poll(
            fd,
            libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP,
            0,
        ),
        Call::Select => select(fd),
        Call::Events => events(task.epoll, 0),
        Call::Wait => events(task.epoll, -1),
        Call::Shut(way) => {
            use super::step::Way;
            let how = match way {
                Way::Read => libc::SHUT_RD,
                Way::Write => libc::SHUT_WR,
                Way::Both => libc::SHUT_RDWR,
            };
            // SAFETY: no memory is passed.
            Done::plain(sys::of(unsafe { libc::shutdown(fd, how) }))
        }
        Call::Set(opt, value) => Done::plain(sys::set(fd, *opt, *value)),
        Call::Get(opt) => match sys::get(fd, *opt) {
            Ok(value) => Done::noted(Ok(0), format!("{value:?}")),
            Err(errno) => Done::plain(Err(errno)),
        },
        Call::Inq => Done::plain(sys::ioctl(fd, libc::FIONREAD)),
        Call::Mark => Done::plain(sys::ioctl(fd, SIOCATMARK)),
        _ => Done::noted(Ok(0), "not a call to be made elsewhere"),
    }
}

/// Messages of a multiple call: one byte is not two of them.
fn messages(size: usize) -> u32 {
    if size > 1 { 2 } else { 1 }
}

/// include/uapi/asm-generic/sockios.h
const SIOCATMARK: libc::c_ulong = 0x8905;

fn iov(bytes: &[u8], piece: usize) -> Vec<libc::iovec> {
    let pieces = bytes.chunks(piece.max(1));
    pieces
        .map(|one| libc::iovec {
            iov_base: one.as_ptr().cast_mut().cast(),
            iov_len: one.len(),
        })
        .collect()
}

fn message(iov: &mut [libc::iovec], control: &mut [u8]) -> libc::msghdr {
    // SAFETY: a `msghdr` of zeros has no name, no pieces and no control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iov.as_mut_ptr();
    message.msg_iovlen = iov.len();
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len();
    message
}

fn send(fd: RawFd, by: By, flags: i32, bytes: &[u8]) -> Answer {
    let flags = flags | libc::MSG_NOSIGNAL;
    let (start, length) = (bytes.as_ptr().cast(), bytes.len());
    let count = |pieces: &[libc::iovec]| i32::try_from(pieces.len()).unwrap_or(i32::MAX);
    match by {
        // SAFETY: pointer and length describe `bytes`.
        By::Plain => sys::of(unsafe { libc::send(fd, start, length, flags) }),
        // SAFETY: as above.
        By::File => sys::of(unsafe { libc::write(fd, start, length) }),
        By::Vec => {
            let pieces = iov(bytes, PIECE.max(bytes.len() / 1000));
            // SAFETY: the pieces lie within `bytes`.
            sys::of(unsafe { libc::writev(fd, pieces.as_ptr(), count(&pieces)) })
        }
        By::Msg => {
            let mut pieces = iov(bytes, PIECE.max(bytes.len() / 1000));
            let message = message(&mut pieces, &mut []);
            // SAFETY: the message's pieces lie within `bytes`.
            sys::of(unsafe { libc::sendmsg(fd, &raw const message, flags) })
        }
        By::Mmsg => {
            let (one, two) = bytes.split_at(bytes.len().div_ceil(2));
            let (mut one, mut two) = (iov(one, one.len()), iov(two, two.len()));
            let mut list = [&mut one, &mut two].map(|pieces| libc::mmsghdr {
                msg_hdr: message(pieces, &mut []),
                msg_len: 0,
            });
            let count = messages(bytes.len());
            // SAFETY: both messages' pieces lie within `bytes`.
            let sent = sys::of(unsafe { libc::sendmmsg(fd, list.as_mut_ptr(), count, flags) });
            sent.map(|n| list[..n].iter().map(|one| one.msg_len as usize).sum())
        }
        By::Sendfile => {
            let file = memory_file(bytes)?;
            let mut offset = 0;
            // SAFETY: the offset is a local one.
            sys::of(unsafe { libc::sendfile(fd, file.as_raw_fd(), &raw mut offset, length) })
        }
        By::Splice => {
            let (out, into) = pipe()?;
            // SAFETY: pointer and length describe `bytes`.
            let filled = sys::of(unsafe { libc::write(into.as_raw_fd(), start, length) })?;
            net::splice(&out, &fd, filled, 0)
        }
        By::Uring => uring::send(fd, bytes, flags),
        By::UringZc => uring::send_zc(fd, bytes, flags),
    }
}

fn memory_file(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a C string.
    let file = sys::of(unsafe { libc::memfd_create(c"scenario".as_ptr(), libc::MFD_CLOEXEC) })?;
    let file = own(file)?;
    // SAFETY: pointer and length describe `bytes`.
    sys::of(unsafe { libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })?;
    Ok(file)
}

fn own(fd: usize) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the caller has just got it from the kernel and keeps no copy.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pipe: where to read, where to write. It holds the largest transfer of a
/// scenario.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (out, into) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: no memory is passed.
    sys::of(unsafe { libc::fcntl(into.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) })?;
    Ok((out, into))
}

fn receive(fd: RawFd, size: usize, by: By, flags: &[Flag]) -> Done {
    let bits = sys::bits(flags);
    if flags.contains(&Flag::Null) {
        // SAFETY: MSG_TRUNC on a stream discards; a null buffer is allowed.
        return Done::plain(sys::of(unsafe {
            libc::recv(fd, ptr::null_mut(), size, bits)
        }));
    }
    let mut data = vec![0; size];
    let (start, length) = (data.as_mut_ptr().cast(), size);
    let mut note = String::new();
    let answer = match by {
        // SAFETY: pointer and length describe `data`.
        By::Plain | By::Sendfile => sys::of(unsafe { libc::recv(fd, start, length, bits) }),
        // SAFETY: as above.
        By::File => sys::of(unsafe { libc::read(fd, start, length) }),
        By::Vec => {
            let pieces = iov(&data, PIECE.max(size / 1000));
            let count = i32::try_from(pieces.len()).unwrap_or(i32::MAX);
            // SAFETY: the pieces lie within `data`.
            sys::of(unsafe { libc::readv(fd, pieces.as_ptr(), count) })
        }
        By::Msg => {
            let mut control = [0; 512];
            let mut pieces = iov(&data, PIECE.max(size / 1000));
            let mut message = message(&mut pieces, &mut control);
            // SAFETY: the message's pieces lie within `data`.
            let answer = sys::of(unsafe { libc::recvmsg(fd, &raw mut message, bits) });
            if answer.is_ok() {
                note = describe(&message);
            }
            answer
        }
        By::Mmsg => {
            let half = size.div_ceil(2);
            let (one, two) = data.split_at(half);
            let (mut one, mut two) = (iov(one, one.len()), iov(two, two.len()));
            let mut list = [&mut one, &mut two].map(|pieces| libc::mmsghdr {
                msg_hdr: message(pieces, &mut []),
                msg_len: 0,
            });
            let count = messages(size);
            // SAFETY: both messages' pieces lie within `data`.
            let got = sys::of(unsafe {
                libc::recvmmsg(fd, list.as_mut_ptr(), count, bits, ptr::null_mut())
            });
            got.map(|n| {
                let lengths = list.map(|one| one.msg_len as usize);
                note = format!("{n} messages of {:?}", &lengths[..n]);
                // The second begins where its buffer does.
                if n == 2 && lengths[0] < half {
                    data.copy_within(half..half + lengths[1], lengths[0]);
                }
                lengths[..n].iter().sum()
            })
        }
        By::Splice => by_splice(fd, &mut data),
        By::Uring | By::UringZc => uring::recv(fd, &mut data, bits),
    };
    data.truncate(answer.unwrap_or(0));
    Done { answer, data, note }
}

fn by_splice(fd: RawFd, data: &mut [u8]) -> Answer {
    let (out, into) = pipe()?;
    // SPLICE_F_NONBLOCK concerns the pipe; the socket's own flag counts too.
    let moved = net::splice(&fd, &into, data.len(), 0)?;
    if moved == 0 {
        return Ok(0);
    }
    // SAFETY: at most `data.len()` bytes are in the pipe.
    sys::of(unsafe { libc::read(out.as_raw_fd(), data.as_mut_ptr().cast(), moved) })
}

/// Control messages by level and type, and what the kernel says of the
/// message.
fn describe(message: &libc::msghdr) -> String {
    let mut words = Vec::new();
    // SAFETY: the kernel has filled in the header and its control buffer.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so within the control buffer.
        let one = unsafe { *header };
        words.push(match (one.cmsg_level, one.cmsg_type) {
            (libc::SOL_SOCKET, libc::SO_TIMESTAMP) => "timestamp".to_owned(),
            (level, kind) => format!("control {level}.{kind}"),
        });
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    for (bit, word) in [
        (libc::MSG_OOB, "oob"),
        (libc::MSG_TRUNC, "trunc"),
        (libc::MSG_CTRUNC, "ctrunc"),
        (libc::MSG_EOR, "eor"),
        (libc::MSG_ERRQUEUE, "errqueue"),
    ] {
        if message.msg_flags & bit != 0 {
            words.push(word.to_owned());
        }
    }
    words.join("+")
}

fn poll(fd: RawFd, wanted: i16, ms: i32) -> Done {
    let mut entry = libc::pollfd {
        fd,
        events: wanted,
        revents: 0,
    };
    // SAFETY: the pointer and the count describe the one local entry.
    let answer = sys::of(unsafe { libc::poll(&raw mut entry, 1, ms) });
    Done::noted(answer, sys::events(entry.revents))
}

fn select(fd: RawFd) -> Done {
    // SAFETY: a set of zeros is an empty one.
    let mut sets: [libc::fd_set; 3] = unsafe { std::mem::zeroed() };
    for set in &mut sets {
        // SAFETY: descriptors of a scenario are far below FD_SETSIZE.
        unsafe { libc::FD_SET(fd, set) };
    }
    let mut none = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let [read, write, except] = &mut sets;
    // SAFETY: all pointers are to local values.
    let answer = sys::of(unsafe { libc::select(fd + 1, read, write, except, &raw mut none) });
    let words: Vec<_> = sets
        .iter()
        .zip(["read", "write", "except"])
        // SAFETY: as above.
        .filter(|(set, _)| unsafe { libc::FD_ISSET(fd, *set) })
        .map(|(_, word)| word)
        .collect();
    Done::noted(answer, words.join("+"))
}

fn events(epoll: RawFd, ms: i32) -> Done {
    let mut list = [libc::epoll_event { events: 0, u64: 0 }; 4];
    // SAFETY: pointer and count describe the local list.
    let answer = sys::of(unsafe { libc::epoll_wait(epoll, list.as_mut_ptr(), 4, ms) });
    let count = answer.unwrap_or(0);
    // The EPOLL* bits of these events are those of poll.
    let words = list[..count].iter().map(|one| {
        let set = { one.events };
        sys::events(i16::try_from(set & 0x7fff).unwrap_or(0))
    });
    Done::noted(answer, words.collect::<Vec<_>>().join(","))
}
