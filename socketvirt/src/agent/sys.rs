//! The one bpf(2) call that aya does not offer in the form needed.
//!
//! aya's attachment to a socket map detaches when it is dropped, and takes
//! only maps with 4-byte values, whose entries the kernel shows to nobody.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `enum bpf_attach_type`, include/uapi/linux/bpf.h.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum AttachType {
    /// `BPF_SK_SKB_STREAM_VERDICT`.
    StreamVerdict = 5,
    /// `BPF_SK_MSG_VERDICT`.
    MessageVerdict = 7,
}

/// `enum bpf_cmd`, include/uapi/linux/bpf.h.
#[derive(Clone, Copy)]
enum Command {
    ProgAttach = 8,
    ProgDetach = 9,
}

/// The part of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Attaches a program to a socket map, for as long as the map lives.
///
/// # Errors
/// What the kernel answered; `EOPNOTSUPP` when the types do not fit.
pub fn attach(map: impl AsFd, program: impl AsFd, how: AttachType) -> io::Result<()> {
    call(Command::ProgAttach, &map, &program, how)
}

/// Detaches a program from a socket map. Sockets that are enrolled keep it.
///
/// # Errors
/// What the kernel answered; `ENOENT` when it is not attached.
pub fn detach(map: impl AsFd, program: impl AsFd, how: AttachType) -> io::Result<()> {
    call(Command::ProgDetach, &map, &program, how)
}

fn call(command: Command, map: &impl AsFd, program: &impl AsFd, how: AttachType) -> io::Result<()> {
    let fd = |fd: &dyn AsFd| fd.as_fd().as_raw_fd().cast_unsigned();
    let attributes = Attributes {
        target_fd: fd(map),
        attach_bpf_fd: fd(program),
        attach_type: how as u32,
        attach_flags: 0,
    };
    // SAFETY: the attributes live during the call and their size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Counts the keys of a hash map of any kind, also of one whose values the
/// kernel does not show. Keys that come and go meanwhile may be counted or not.
pub fn keys<K: Copy>(map: impl AsFd, mut key: K) -> usize {
    /// `BPF_MAP_GET_NEXT_KEY`.
    const GET_NEXT_KEY: libc::c_int = 4;
    /// The part of `union bpf_attr` for it.
    #[repr(C)]
    struct Attributes {
        map_fd: u32,
        unused: u32,
        key: u64,
        following: u64,
    }
    let mut count = 0;
    let mut first = true;
    loop {
        let mut next = key;
        let attributes = Attributes {
            map_fd: map.as_fd().as_raw_fd().cast_unsigned(),
            unused: 0,
            key: if first { 0 } else { (&raw const key) as u64 },
            following: (&raw mut next) as u64,
        };
        // SAFETY: both keys live during the call and have the map's key size.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                GET_NEXT_KEY,
                &raw const attributes,
                size_of::<Attributes>(),
            )
        };
        if answer != 0 {
            return count;
        }
        count += 1;
        key = next;
        first = false;
    }
}
