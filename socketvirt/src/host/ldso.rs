//! Tells whether a process has loaded the libraries that its program needs.
//!
//! After exec(2) the dynamic loader maps them, before the program itself runs.
//! It keeps a record of that for debuggers (`struct r_debug` of link.h, found
//! by the entry `DT_DEBUG` of the program's dynamic section), in glibc and in
//! musl: no record before it begins, `RT_CONSISTENT` when everything is there.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
};

/// include/uapi/linux/auxvec.h.
const AT_PHDR: u64 = 3;
/// include/uapi/linux/auxvec.h.
const AT_PHENT: u64 = 4;
/// include/uapi/linux/auxvec.h.
const AT_PHNUM: u64 = 5;
/// include/uapi/linux/auxvec.h: where the loader is; 0 without one.
const AT_BASE: u64 = 7;

/// include/uapi/linux/elf.h.
const PT_DYNAMIC: u32 = 2;
/// include/uapi/linux/elf.h: the program headers themselves.
const PT_PHDR: u32 = 6;
/// `sizeof(Elf64_Phdr)`.
const HEADER: usize = 56;
/// include/uapi/linux/elf.h.
const DT_DEBUG: u64 = 21;
/// `sizeof(struct r_debug)`.
const RECORD: usize = 40;
/// Headers, or bytes of a dynamic section, that are read at most.
const MANY: usize = 64;

/// The state that the loader's record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// Everything is loaded, or there is nothing to load.
    Done,
    /// The loader has not begun, or is at it.
    UnderWay,
    /// The program keeps no such record, or not one that is known.
    Unknown,
}

/// Reads how far the loader of a process has come.
///
/// # Errors
/// When the process has ended, or may not be read.
pub fn loading(pid: u32) -> io::Result<Loading> {
    let auxiliary = fs::read(format!("/proc/{pid}/auxv"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    judge(&auxiliary, |at, bytes| memory.read_exact_at(bytes, at))
}

fn judge(auxiliary: &[u8], read: impl Fn(u64, &mut [u8]) -> io::Result<()>) -> io::Result<Loading> {
    let auxiliary: Vec<_> = pairs(auxiliary).collect();
    let value = |kind| auxiliary.iter().find(|(k, _)| *k == kind).map(|(_, v)| *v);
    // A program of 32 bits has other pairs, which say nothing here.
    let (Some(at), Some(count), Some(HEADER_SIZE)) =
        (value(AT_PHDR), value(AT_PHNUM), value(AT_PHENT))
    else {
        return Ok(Loading::Unknown);
    };
    if value(AT_BASE).is_none_or(|base| base == 0) {
        return Ok(Loading::Done);
    }
    let count = usize::try_from(count).unwrap_or(MANY).min(MANY);
    let mut headers = vec![0; count * HEADER];
    read(at, &mut headers)?;
    let header = |kind| {
        headers
            .chunks_exact(HEADER)
            .find(|header| u32_at(header, 0) == kind)
            // `p_vaddr` and `p_memsz`.
            .map(|header| (u64_at(header, 16), u64_at(header, 40)))
    };
    let (Some((own, _)), Some((dynamic, size))) = (header(PT_PHDR), header(PT_DYNAMIC)) else {
        return Ok(Loading::Unknown);
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(MANY * 64);
    let mut section = vec![0; size];
    read(at.wrapping_sub(own).wrapping_add(dynamic), &mut section)?;
    let record = match pairs(&section).find(|(tag, _)| *tag == DT_DEBUG) {
        Some((_, 0)) => return Ok(Loading::UnderWay),
        Some((_, record)) => record,
        None => return Ok(Loading::Unknown),
    };
    let mut bytes = [0; RECORD];
    read(record, &mut bytes)?;
    // `r_map` and `r_state`: RT_CONSISTENT is 0.
    Ok(if u64_at(&bytes, 8) != 0 && u32_at(&bytes, 24) == 0 {
        Loading::Done
    } else {
        Loading::UnderWay
    })
}

const HEADER_SIZE: u64 = HEADER as u64;

/// Tags and their values.
fn pairs(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    bytes
        .chunks_exact(16)
        .map(|pair| (u64_at(pair, 0), u64_at(pair, 8)))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u64::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs() {
        assert_eq!(loading(std::process::id()).unwrap(), Loading::Done);
    }

    #[test]
    fn a_process_that_is_gone() {
        assert!(loading(0).is_err());
    }

    const AT: u64 = 0x1000;

    /// A program that is loaded where it asked for, with this record.
    fn program(record_at: u64, map: u64, state: u32) -> Loading {
        let mut auxiliary = Vec::new();
        for (kind, value) in [(AT_PHDR, AT), (AT_PHENT, 56), (AT_PHNUM, 2), (AT_BASE, 1)] {
            auxiliary.extend(u64::to_ne_bytes(kind));
            auxiliary.extend(u64::to_ne_bytes(value));
        }
        let mut memory = vec![0; 0x200];
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        for (number, (kind, address, size)) in [(PT_PHDR, AT, 112), (PT_DYNAMIC, AT + 0x80, 32_u64)]
            .into_iter()
            .enumerate()
        {
            put(number * HEADER, &u32::to_ne_bytes(kind));
            put(number * HEADER + 16, &u64::to_ne_bytes(address));
            put(number * HEADER + 40, &u64::to_ne_bytes(size));
        }
        put(0x80, &u64::to_ne_bytes(1));
        put(0x90, &u64::to_ne_bytes(DT_DEBUG));
        put(0x98, &u64::to_ne_bytes(record_at));
        put(0x108, &u64::to_ne_bytes(map));
        put(0x118, &u32::to_ne_bytes(state));
        let read = |at: u64, bytes: &mut [u8]| {
            let from = usize::try_from(at - AT).unwrap();
            bytes.copy_from_slice(&memory[from..from + bytes.len()]);
            Ok(())
        };
        judge(&auxiliary, read).unwrap()
    }

    #[test]
    fn before_the_loader_in_it_and_after_it() {
        assert_eq!(program(0, 0, 0), Loading::UnderWay);
        assert_eq!(program(AT + 0x100, 0, 0), Loading::UnderWay);
        assert_eq!(program(AT + 0x100, 1, 1), Loading::UnderWay);
        assert_eq!(program(AT + 0x100, 1, 0), Loading::Done);
    }

    #[test]
    fn no_loader_or_another_kind_of_program() {
        let none = |_: u64, _: &mut [u8]| unreachable!("nothing is to be read");
        let pair = |kind: u64, value: u64| [kind.to_ne_bytes(), value.to_ne_bytes()].concat();
        let program = [pair(AT_PHDR, AT), pair(AT_PHENT, 56), pair(AT_PHNUM, 2)].concat();
        assert_eq!(judge(&program, none).unwrap(), Loading::Done);
        let narrow = [pair(AT_PHDR, AT), pair(AT_PHENT, 32), pair(AT_PHNUM, 2)].concat();
        assert_eq!(judge(&narrow, none).unwrap(), Loading::Unknown);
    }
}
