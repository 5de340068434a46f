//! Iterators: the kernel runs a program for each of its objects, and what the
//! program writes is read from a file.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use socketvirt_common::record::{
    row::Row,
    stream::{Header, Holder, Joined, Tag},
};

/// `BPF_TRACE_ITER` of `enum bpf_attach_type`.
const TRACE_ITER: u32 = 28;
/// `BPF_LINK_CREATE` of `enum bpf_cmd`.
const LINK_CREATE: libc::c_int = 28;
/// `BPF_ITER_CREATE` of `enum bpf_cmd`.
const ITER_CREATE: libc::c_int = 33;

/// The kernel's own buffer of an iterator is 8 pages.
const BUFFER: usize = 32 * 1024;

/// An iterator that can be run any number of times.
///
/// aya's link can be run once, and pinned to be run more often; this one
/// leaves nothing behind.
#[derive(Debug)]
pub struct Iterator {
    link: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct Link {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct Create {
    link_fd: u32,
    flags: u32,
}

impl Iterator {
    /// Makes an iterator of a program that is loaded.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new(program: impl AsFd) -> io::Result<Self> {
        let link = call(
            LINK_CREATE,
            &Link {
                prog_fd: program.as_fd().as_raw_fd().cast_unsigned(),
                attach_type: TRACE_ITER,
                ..Link::default()
            },
        )?;
        Ok(Self { link })
    }

    /// Runs it in the network namespace of the calling thread, and gives what
    /// the program wrote.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn run(&self, into: &mut Vec<u8>) -> io::Result<()> {
        let pass = call(
            ITER_CREATE,
            &Create {
                link_fd: self.link.as_raw_fd().cast_unsigned(),
                flags: 0,
            },
        )?;
        let mut pass = File::from(pass);
        loop {
            let end = into.len();
            into.resize(end + BUFFER, 0);
            match pass.read(&mut into[end..]) {
                Ok(count) => {
                    into.truncate(end + count);
                    if count == 0 {
                        return Ok(());
                    }
                }
                // The kernel stops after a million objects without output.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) =>
                {
                    into.truncate(end);
                }
                Err(error) => {
                    into.truncate(end);
                    return Err(error);
                }
            }
        }
    }
}

fn call<A>(command: libc::c_int, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: the attributes live during the call and their size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<A>(),
        )
    };
    match libc::c_int::try_from(answer) {
        // SAFETY: a new descriptor, of nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One record of an iterator's output.
pub enum Record {
    /// A socket.
    Row(Box<Row>),
    /// A process that has one open.
    Holder(Holder),
    /// What an agent knows of one.
    Joined(Joined),
    /// A socket that found no room in the map.
    Missing(u64),
}

/// The records of an iterator's output.
pub fn records(mut bytes: &[u8]) -> impl std::iter::Iterator<Item = Record> {
    std::iter::from_fn(move || {
        loop {
            let header: Header = take(&mut bytes)?;
            let (body, rest) = bytes.split_at_checked(header.size as usize)?;
            bytes = rest;
            let record = [Tag::Row, Tag::Holder, Tag::Joined, Tag::Missing]
                .into_iter()
                .find(|tag| *tag as u32 == header.tag);
            let mut body = body;
            return match record {
                Some(Tag::Row) => Some(Record::Row(Box::new(take(&mut body)?))),
                Some(Tag::Holder) => Some(Record::Holder(take(&mut body)?)),
                Some(Tag::Joined) => Some(Record::Joined(take(&mut body)?)),
                Some(Tag::Missing) => Some(Record::Missing(take(&mut body)?)),
                None => continue,
            };
        }
    })
}

/// A value at the front, which goes.
fn take<T: Plain>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = bytes.split_at_checked(size_of::<T>())?;
    *bytes = rest;
    // SAFETY: as many bytes as the value has, written by a program of this
    // build as this very type, from maps of this build alone.
    Some(unsafe { std::ptr::read_unaligned(value.as_ptr().cast()) })
}

/// What the programs write as it is.
trait Plain: Copy {}
impl Plain for Header {}
impl Plain for Row {}
impl Plain for Holder {}
impl Plain for Joined {}
impl Plain for u64 {}
