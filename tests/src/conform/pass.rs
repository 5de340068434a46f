//! Descriptors that go from hand to hand, and epoll.

use std::{
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
        wait::waitpid,
    },
    unistd::{ForkResult, fork},
};

use super::{
    perform::{Done, Task, perform},
    step::{Call, Watch},
    sys,
    wire::{Side, own},
};

fn give(to: &UnixStream, fd: RawFd) -> Result<()> {
    sendmsg::<UnixAddr>(
        to.as_raw_fd(),
        &[IoSlice::new(b".")],
        &[ControlMessage::ScmRights(&[fd])],
        MsgFlags::empty(),
        None,
    )
    .context("SCM_RIGHTS")?;
    Ok(())
}

fn take(from: &UnixStream) -> Result<OwnedFd> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!(RawFd);
    let mut pieces = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<UnixAddr>(
        from.as_raw_fd(),
        &mut pieces,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .context("receive a descriptor")?;
    for control in message.cmsgs().context("control messages")? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return own(usize::try_from(*fd).context("a descriptor")?);
        }
    }
    anyhow::bail!("no descriptor came")
}

/// Sends a descriptor to ourselves.
pub(super) fn through(fd: OwnedFd) -> Result<OwnedFd> {
    let (one, other) = UnixStream::pair().context("socketpair")?;
    give(&one, fd.as_raw_fd())?;
    drop(fd);
    take(&other)
}

/// Makes a call in another process that alone holds the socket, which then
/// comes back.
pub(super) fn handover(fd: OwnedFd, task: &Task) -> Result<(Done, OwnedFd)> {
    let (mut parent, mut child) = UnixStream::pair().context("socketpair")?;
    // SAFETY: the child makes its call, gives everything back and ends; glibc
    // keeps its allocator usable after a fork.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            drop((fd, parent));
            if let Ok(fd) = take(&child) {
                let mine = Task {
                    fd: fd.as_raw_fd(),
                    ..task.clone()
                };
                let done = perform(&mine);
                let _ = give(&child, fd.as_raw_fd());
                done.write(&mut child);
            }
            let _ = child.flush();
            // SAFETY: ends the child without running what the parent will.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child: pid } => {
            drop(child);
            give(&parent, fd.as_raw_fd())?;
            drop(fd);
            let fd = take(&parent)?;
            let mut bytes = Vec::new();
            parent
                .read_to_end(&mut bytes)
                .context("the other process's answer")?;
            waitpid(pid, None).context("waitpid")?;
            let done = Done::read(&mut bytes.as_slice()).context("no answer")?;
            Ok((done, fd))
        }
    }
}

/// Makes a call in a child, which has the socket by inheritance.
pub(super) fn forked(task: &Task) -> Result<Done> {
    let (mut parent, mut child) = UnixStream::pair().context("socketpair")?;
    // SAFETY: the child makes its call, writes its answer and ends; glibc
    // keeps its allocator usable after a fork.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            perform(task).write(&mut child);
            // SAFETY: ends the child without running what the parent will.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child: pid } => {
            drop(child);
            let mut bytes = Vec::new();
            parent
                .read_to_end(&mut bytes)
                .context("the child's answer")?;
            waitpid(pid, None).context("waitpid")?;
            Done::read(&mut bytes.as_slice()).context("a child gave no answer")
        }
    }
}

/// Watches an end, or asks anew.
pub(super) fn watch(side: &mut Side, call: &Call) -> String {
    let Some(fd) = side.fd.as_ref().map(AsRawFd::as_raw_fd) else {
        return "no socket".to_owned();
    };
    let (operation, kind) = match call {
        Call::Watch(kind) => (libc::EPOLL_CTL_ADD, Some(*kind)),
        _ => (libc::EPOLL_CTL_MOD, side.watched),
    };
    let Some(kind) = kind else {
        return "not watched".to_owned();
    };
    side.watched = Some(kind);
    let extra = match kind {
        Watch::Level => libc::EPOLLRDHUP,
        Watch::Edge => libc::EPOLLRDHUP | libc::EPOLLET,
        Watch::EdgeOut => libc::EPOLLRDHUP | libc::EPOLLET | libc::EPOLLOUT,
        Watch::Oneshot => libc::EPOLLRDHUP | libc::EPOLLONESHOT,
        // It allows few others.
        Watch::Exclusive => libc::EPOLLEXCLUSIVE,
    };
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | extra).cast_unsigned(),
        u64: 0,
    };
    // SAFETY: the event is a local one.
    let answer =
        sys::of(unsafe { libc::epoll_ctl(side.epoll.as_raw_fd(), operation, fd, &raw mut event) });
    sys::word(answer)
}
