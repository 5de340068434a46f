//! The bpf(2) calls that aya does not offer in the form needed.
//!
//! aya's attachment to a socket map detaches when it is dropped, and takes
//! only maps with 4-byte values, whose entries the kernel shows to nobody.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
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

/// The smallest id of a map above `id`; none when there is none, or the kernel
/// does not tell.
#[must_use]
pub fn map_after(id: u32) -> Option<u32> {
    /// `BPF_MAP_GET_NEXT_ID`.
    const GET_NEXT_ID: libc::c_int = 12;
    /// The part of `union bpf_attr` for it.
    #[repr(C)]
    struct Attributes {
        start: u32,
        next: u32,
        flags: u32,
    }
    let mut attributes = Attributes {
        start: id,
        next: 0,
        flags: 0,
    };
    // SAFETY: the attributes live during the call and their size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            GET_NEXT_ID,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    (answer == 0).then_some(attributes.next)
}

/// The id of the cgroup that a pinned link attaches a program to; 0 once that
/// cgroup and its sockets are gone.
///
/// # Errors
/// What the kernel answered.
pub fn cgroup_of_link(pinned: &Path) -> io::Result<u64> {
    /// `BPF_OBJ_GET`.
    const GET: libc::c_int = 7;
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    const GET_INFO: libc::c_int = 15;
    /// The part of `union bpf_attr` for the first.
    #[repr(C)]
    struct Get {
        path: u64,
        unused: u64,
    }
    /// The part of `union bpf_attr` for the second.
    #[repr(C)]
    struct GetInfo {
        link: u32,
        length: u32,
        info: u64,
    }
    /// The part of `struct bpf_link_info` for links of cgroups.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        unused: u32,
        cgroup: u64,
        attach_type: u32,
        unused_too: u32,
    }
    let path = CString::new(pinned.as_os_str().as_bytes())?;
    let get = Get {
        path: path.as_ptr() as u64,
        unused: 0,
    };
    // SAFETY: the path lives during the call.
    let link = unsafe { libc::syscall(libc::SYS_bpf, GET, &raw const get, size_of::<Get>()) };
    let link = i32::try_from(link).map_err(io::Error::other)?;
    if link < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    let mut info = Info::default();
    let get_info = GetInfo {
        link: link.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<Info>()).unwrap_or(0),
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` lives during the call and its size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            GET_INFO,
            &raw const get_info,
            size_of::<GetInfo>(),
        )
    };
    if answer == 0 {
        Ok(info.cgroup)
    } else {
        Err(io::Error::last_os_error())
    }
}
