//! The bpf(2) calls that aya does not offer in the form needed.
//!
//! aya's attachment to a socket map detaches when it is dropped, and takes
//! only maps with 4-byte values, whose entries the kernel shows to nobody. Its
//! links of iterators can be run once.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info};

/// Attributes of a call, all 0.
#[must_use]
pub fn attributes() -> bpf_attr {
    // SAFETY: numbers alone, of which 0 is one.
    unsafe { mem::zeroed() }
}

/// A descriptor, as attributes have it.
#[must_use]
pub fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// Calls bpf(2), and returns its answer.
///
/// # Errors
/// The kernel's answer.
///
/// # Safety
/// All that `attributes` point to must live during the call, be as large as
/// they say, and be writable where the kernel writes.
unsafe fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_int> {
    let attributes = std::ptr::from_mut(attributes);
    // SAFETY: the attributes live during the call and their size is given; the
    // caller answers for what they point to. A kernel that knows fewer of them
    // takes the rest as long as it is 0.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            attributes,
            size_of::<bpf_attr>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(answer).map_err(io::Error::other)
}

/// Calls bpf(2), and returns the descriptor that it answers.
///
/// # Errors
/// The kernel's answer.
///
/// # Safety
/// All that `attributes` point to must live during the call, be as large as
/// they say, and be writable where the kernel writes. The call must be one that
/// opens a descriptor.
pub unsafe fn open(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller answers for the attributes.
    let fd = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a socket map, for as long as the map lives.
///
/// # Errors
/// The kernel's answer; `EOPNOTSUPP` when the types do not fit.
pub fn attach(map: impl AsFd, program: impl AsFd, how: bpf_attach_type) -> io::Result<()> {
    change(bpf_cmd::BPF_PROG_ATTACH, map, program, how)
}

/// Detaches a program from a socket map. Sockets that are enrolled keep it.
///
/// # Errors
/// The kernel's answer; `ENOENT` when it is not attached.
pub fn detach(map: impl AsFd, program: impl AsFd, how: bpf_attach_type) -> io::Result<()> {
    change(bpf_cmd::BPF_PROG_DETACH, map, program, how)
}

fn change(
    command: bpf_cmd,
    map: impl AsFd,
    program: impl AsFd,
    how: bpf_attach_type,
) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.__bindgen_anon_5.__bindgen_anon_1.target_fd = number(map);
    attributes.__bindgen_anon_5.attach_bpf_fd = number(program);
    attributes.__bindgen_anon_5.attach_type = how as u32;
    // SAFETY: the attributes hold numbers alone.
    unsafe { call(command, &mut attributes) }.map(drop)
}

/// Counts the keys of a hash map of any kind, also of one whose values the
/// kernel does not show. Keys that come and go meanwhile may be counted or not.
pub fn keys<K: aya::Pod>(map: impl AsFd, mut key: K) -> usize {
    let map = number(map);
    let mut count = 0;
    loop {
        let mut next = key;
        let mut attributes = attributes();
        attributes.__bindgen_anon_2.map_fd = map;
        // Without a key, the first is asked for.
        attributes.__bindgen_anon_2.key = if count == 0 {
            0
        } else {
            (&raw const key) as u64
        };
        attributes.__bindgen_anon_2.__bindgen_anon_1.next_key = (&raw mut next) as u64;
        // SAFETY: both keys live during the call and have the map's key size.
        if unsafe { call(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attributes) }.is_err() {
            return count;
        }
        count += 1;
        key = next;
    }
}

/// The smallest id of a map above `id`; none when there is none, or the kernel
/// does not tell.
#[must_use]
pub fn map_after(id: u32) -> Option<u32> {
    let mut attributes = attributes();
    attributes.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
    // SAFETY: the attributes hold numbers alone.
    unsafe { call(bpf_cmd::BPF_MAP_GET_NEXT_ID, &mut attributes) }.ok()?;
    // SAFETY: a number, which the kernel has written.
    Some(unsafe { attributes.__bindgen_anon_6.next_id })
}

/// Opens what is pinned.
///
/// # Errors
/// The kernel's answer.
pub fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = attributes();
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path lives during the call, which opens what is pinned there.
    unsafe { open(bpf_cmd::BPF_OBJ_GET, &mut attributes) }
}

/// Pins an object, which may be pinned elsewhere too.
///
/// # Errors
/// The kernel's answer.
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = attributes();
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attributes.__bindgen_anon_4.bpf_fd = number(&object);
    // SAFETY: the path lives during the call, which reads it.
    unsafe { call(bpf_cmd::BPF_OBJ_PIN, &mut attributes) }.map(drop)
}

/// Has a link run another program from now on. Each event meets one of the two.
///
/// # Errors
/// The kernel's answer; `ENOLINK` when the cgroup of the link is gone.
pub fn update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.link_update.link_fd = number(&link);
    attributes.link_update.__bindgen_anon_1.new_prog_fd = number(&program);
    // SAFETY: the attributes hold numbers alone.
    unsafe { call(bpf_cmd::BPF_LINK_UPDATE, &mut attributes) }.map(drop)
}

/// The id of the cgroup that a pinned link attaches a program to; 0 once that
/// cgroup and its sockets are gone.
///
/// # Errors
/// The kernel's answer.
pub fn cgroup_of_link(at: &Path) -> io::Result<u64> {
    // SAFETY: numbers alone, of which 0 is one.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    inform(pinned(at)?, &mut info)?;
    // SAFETY: numbers in any case, and those of a cgroup for a link to one.
    Ok(unsafe { info.__bindgen_anon_1.cgroup.cgroup_id })
}

/// The shape of a map: what programs that use it are verified for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

/// The shape of a map.
///
/// # Errors
/// The kernel's answer.
pub fn shape(map: impl AsFd) -> io::Result<Shape> {
    // SAFETY: numbers alone, of which 0 is one.
    let mut info: bpf_map_info = unsafe { mem::zeroed() };
    inform(map, &mut info)?;
    Ok(Shape {
        kind: info.type_,
        key: info.key_size,
        value: info.value_size,
        entries: info.max_entries,
        flags: info.map_flags,
    })
}

/// Has the kernel tell what it knows of an object: `I` is the structure for its kind.
fn inform<I>(object: impl AsFd, info: &mut I) -> io::Result<()> {
    let mut question = attributes();
    question.info.bpf_fd = number(&object);
    question.info.info_len = u32::try_from(size_of::<I>()).map_err(io::Error::other)?;
    question.info.info = std::ptr::from_mut(info) as u64;
    // SAFETY: `info` lives during the call and its size is given.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut question) }.map(drop)
}
