//! Memory that is mapped from a descriptor, and unmapped with its guard.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
};

/// A mapping.
pub struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: shared memory of the kernel, which any thread may read.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes, to be read.
    ///
    /// # Errors
    /// The answer of mmap(2).
    pub fn of(fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(fd, length, libc::PROT_READ)
    }

    /// Maps the first `length` bytes, to be read and written.
    ///
    /// # Errors
    /// The answer of mmap(2).
    pub fn shared(fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(fd, length, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(fd: BorrowedFd<'_>, length: usize, access: libc::c_int) -> io::Result<Self> {
        // SAFETY: a mapping of its own, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start)
            .map(|start| Self { start, length })
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> NonNull<libc::c_void> {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `of`; who has its start has the guard.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}
