//! Single calls by `io_uring`.

use std::os::fd::RawFd;

use anyhow::{Context as _, Result};
use io_uring::{IoUring, opcode, squeue, types};
use nix::errno::Errno;

use super::sys::Answer;

/// send(2).
pub(super) fn send(fd: RawFd, bytes: &[u8], flags: i32) -> Answer {
    let length = u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)?;
    let entry = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), length).flags(flags);
    one(&entry.build())
}

/// send(2) from the program's own pages: from a copy that stays, as the kernel
/// is done with them only when the other end has read.
pub(super) fn send_zc(fd: RawFd, bytes: &[u8], flags: i32) -> Answer {
    let length = u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)?;
    let bytes = bytes.to_vec().leak();
    let entry = opcode::SendZc::new(types::Fd(fd), bytes.as_ptr(), length).flags(flags);
    one(&entry.build())
}

/// recv(2).
pub(super) fn recv(fd: RawFd, buffer: &mut [u8], flags: i32) -> Answer {
    let length = u32::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?;
    let entry = opcode::Recv::new(types::Fd(fd), buffer.as_mut_ptr(), length).flags(flags);
    one(&entry.build())
}

/// Makes a ring, as programs do before they have connections.
pub(super) fn prepare() -> Result<()> {
    IoUring::new(2).context("io_uring_setup")?;
    Ok(())
}

/// Submits one entry and waits until it is complete.
fn one(entry: &squeue::Entry) -> Answer {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let mut ring = IoUring::new(2).map_err(errno)?;
    // SAFETY: the buffer outlives the entry, because this waits for its end.
    unsafe { ring.submission().push(entry) }.map_err(|_| Errno::EAGAIN)?;
    ring.submit_and_wait(1).map_err(errno)?;
    let done = ring.completion().next().ok_or(Errno::EAGAIN)?;
    usize::try_from(done.result()).map_err(|_| Errno::from_raw(-done.result()))
}
