//! Iterators: the kernel runs a program for each of its objects, and what the
//! program writes is read from a file.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_cmd};
use socketvirt_common::record::{
    row::Row,
    stream::{Header, Holder, Joined, Tag},
};
use zerocopy::TryFromBytes;

use crate::bpf::sys;

/// The kernel's own buffer of an iterator is 8 pages.
const BUFFER: usize = 32 * 1024;

/// An iterator that can be run any number of times.
///
/// aya's link can be run once, and pinned to be run more often; this one
/// leaves nothing behind.
#[derive(Debug)]
pub struct SocketIter {
    link: OwnedFd,
}

impl SocketIter {
    /// Makes an iterator of a program that is loaded.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn new(program: impl AsFd) -> io::Result<Self> {
        let mut attributes = sys::attributes();
        attributes.link_create.__bindgen_anon_1.prog_fd = sys::number(program);
        attributes.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
        // SAFETY: the attributes hold numbers alone, and the call opens a link.
        let link = unsafe { sys::open(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }?;
        Ok(Self { link })
    }

    /// Runs it in the network namespace of the calling thread, and gives what
    /// the program wrote.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn run(&self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut attributes = sys::attributes();
        attributes.iter_create.link_fd = sys::number(&self.link);
        // SAFETY: the attributes hold numbers alone, and the call opens a file.
        let pass = unsafe { sys::open(bpf_cmd::BPF_ITER_CREATE, &mut attributes) }?;
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

/// One record of an iterator's output.
pub enum Record {
    /// A socket.
    Row(Box<Row>),
    /// A process that has one open.
    Holder(Holder),
    /// An agent's knowledge of one.
    Joined(Joined),
    /// A socket that found no room in the map.
    Missing(u64),
}

/// The records of an iterator's output.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record> {
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
fn take<T: TryFromBytes>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = T::try_read_from_prefix(bytes).ok()?;
    *bytes = rest;
    Some(value)
}
