//! Numbers of the running kernel, written into the programs' instructions.
//!
//! Programs load fields of any socket without a call when they may cast:
//! `bpf_rdonly_cast`, a function of the kernel since Linux 6.2. aya relocates no
//! calls of the kernel's functions, and Rust has no CO-RE, so the object has a
//! mark at each call ([`CAST`], [`DESTROY`]) and at each number of the layout
//! ([`OFFSET`]).

use std::{io, os::fd::OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};
use socketvirt_common::record::layout::{CAST, DESTROY, KernelLayout, OFFSET};

use super::btf::KernelTypes;
use crate::bpf::sys;

/// `dst = src` of two registers, `BPF_ALU64 | BPF_MOV | BPF_X`.
const MOVE: u8 = 0xbf;
/// `dst = imm`, `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `dst = *(u64 *)(src + off)`, `BPF_LDX | BPF_MEM | BPF_DW`.
const LOAD: u8 = 0x79;
/// `if dst == imm goto +off`, `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_0: u8 = 0x15;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;
/// The source register of a [`CALL`] of the kernel's functions.
const PSEUDO_KFUNC_CALL: u8 = 2;

/// `struct bpf_insn`.
fn instruction(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") {
        src << 4 | dst
    } else {
        dst << 4 | src
    };
    let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&off.to_ne_bytes());
    bytes[4..].copy_from_slice(&imm.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// Fills in what programs need for casts; nothing on a kernel that has no such
/// function, or that refuses a program that calls it.
pub fn resolve(types: &KernelTypes, layout: &mut KernelLayout) {
    let (Some(function), Some(structure)) = (
        types.function_id("bpf_rdonly_cast"),
        types.structure_id("tcp_sock"),
    ) else {
        return;
    };
    if is_accepted(function, structure, layout.sk_cookie).is_ok() {
        (layout.cast_function, layout.tcp_sock_type) = (function, structure);
    }
}

/// Fills in what a visit needs to reset a connection; nothing on a kernel that has no
/// such function (before 6.5), or that refuses a visit that calls it.
pub fn resolve_reset(types: &KernelTypes, layout: &mut KernelLayout) {
    layout.destroy_function = reset_function(types).unwrap_or(0);
}

/// True when a visit can reset a connection on this kernel.
#[must_use]
pub fn can_reset(types: &KernelTypes) -> bool {
    reset_function(types).is_some()
}

fn reset_function(types: &KernelTypes) -> Option<u32> {
    let function = types.function_id("bpf_sock_destroy")?;
    let visit = types.function_id("bpf_iter_tcp")?;
    may_reset(function, visit).ok().map(|()| function)
}

/// Lets the verifier look at the shortest visit that resets a connection.
fn may_reset(function: u32, visit: u32) -> io::Result<()> {
    /// Where the context of a visit has the socket, after the reader
    /// (`struct bpf_iter__tcp`).
    const SOCKET: i16 = 8;
    let program = [
        instruction(LOAD, 1, 1, SOCKET, 0),
        instruction(JUMP_IF_0, 1, 0, 1, 0),
        instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, function),
        instruction(SET, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    load(&program, |attributes| {
        attributes.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
        attributes.__bindgen_anon_3.expected_attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
        attributes.__bindgen_anon_3.attach_btf_id = visit;
    })
    .map(drop)
}

/// Lets the verifier look at the shortest program that casts and loads.
fn is_accepted(function: u32, structure: u32, field: u32) -> io::Result<()> {
    let offset = i16::try_from(field).map_err(io::Error::other)?;
    let program = [
        instruction(SET, 1, 0, 0, 0),
        instruction(SET, 2, 0, 0, structure),
        instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, function),
        instruction(LOAD, 0, 0, offset, 0),
        instruction(SET, 0, 0, 0, 1),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    load(&program, |attributes| {
        attributes.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_SK_MSG as u32;
        attributes.__bindgen_anon_3.expected_attach_type =
            bpf_attach_type::BPF_SK_MSG_VERDICT as u32;
    })
    .map(drop)
}

/// Loads a program of the type that `of_type` sets, which the kernel forgets with its
/// descriptor.
fn load(program: &[u64], of_type: impl FnOnce(&mut bpf_attr)) -> io::Result<OwnedFd> {
    /// Its name, for who lists programs at that moment.
    const NAME: &[u8] = b"sv_may_cast";
    let mut attributes = sys::attributes();
    of_type(&mut attributes);
    attributes.__bindgen_anon_3.insn_cnt =
        u32::try_from(program.len()).map_err(io::Error::other)?;
    attributes.__bindgen_anon_3.insns = program.as_ptr() as u64;
    attributes.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    attributes.__bindgen_anon_3.prog_name = std::array::from_fn(|at| {
        let letter = NAME.get(at).copied().unwrap_or(0);
        libc::c_char::from_ne_bytes([letter])
    });
    // SAFETY: the instructions, as many as are given, and the license live
    // during the call, which opens a program.
    unsafe { sys::open(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }
}

/// The object with its marks replaced: numbers of the layout by what they are,
/// and calls by those of the kernel. Where the kernel has none, something stands there
/// that is harmless, in code that the layout then makes dead.
#[must_use]
pub fn fill(object: &[u8], layout: &KernelLayout) -> Vec<u8> {
    let cast = if layout.tcp_sock_type == 0 {
        instruction(MOVE, 0, 1, 0, 0)
    } else {
        instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, layout.cast_function)
    };
    let destroy = if layout.destroy_function == 0 {
        instruction(SET, 0, 0, 0, 0)
    } else {
        instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, layout.destroy_function)
    };
    let mut object = object.to_vec();
    // Instructions are aligned in their sections, and these in the object.
    for word in object.as_chunks_mut::<8>().0 {
        if *word == CAST.to_ne_bytes() {
            *word = cast.to_ne_bytes();
        } else if *word == DESTROY.to_ne_bytes() {
            *word = destroy.to_ne_bytes();
        } else if let Some(at) = marked(*word) {
            let [_, _, _, _, number @ ..] = word;
            *number = layout.word(at).to_ne_bytes();
        }
    }
    object
}

/// Where in the layout the number is that this instruction shall set.
fn marked([code, registers, off, off_high, number @ ..]: [u8; 8]) -> Option<usize> {
    let source = if cfg!(target_endian = "little") {
        registers >> 4
    } else {
        registers & 0xf
    };
    if (code, source, off, off_high) != (SET, 0, 0, 0) {
        return None;
    }
    let number = u32::from_ne_bytes(number);
    let at = usize::try_from(number.checked_sub(OFFSET)?).ok()?;
    (at < size_of::<KernelLayout>()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::object::OBJECT;

    fn marks(object: &[u8]) -> usize {
        let calls = [CAST.to_ne_bytes(), DESTROY.to_ne_bytes()];
        let is_mark = |word: &&[u8; 8]| calls.contains(word) || marked(**word).is_some();
        object.as_chunks::<8>().0.iter().filter(is_mark).count()
    }

    /// A cast that stays would be refused: it is no function of the kernel. A
    /// number that stays would be taken for an offset.
    #[test]
    fn every_mark_is_replaced() {
        assert!(marks(OBJECT) > 100);
        let casts = KernelLayout {
            tcp_sock_type: 36_752,
            cast_function: 65_486,
            destroy_function: 65_487,
            ..KernelLayout::UNKNOWN
        };
        for layout in [KernelLayout::UNKNOWN, casts] {
            let object = fill(OBJECT, &layout);
            assert_eq!(object.len(), OBJECT.len());
            assert_eq!(marks(&object), 0);
        }
    }

    #[test]
    fn a_number_comes_from_its_own_place() {
        let at = std::mem::offset_of!(KernelLayout, write_seq);
        let mark = OFFSET + u32::try_from(at).unwrap();
        let set = |number| instruction(SET, 3, 0, 0, number).to_ne_bytes();
        let layout = KernelLayout {
            write_seq: 1500,
            ..KernelLayout::UNKNOWN
        };
        assert_eq!(fill(&set(mark), &layout), set(1500));
        assert_eq!(fill(&set(OFFSET - 1), &layout), set(OFFSET - 1));
    }

    #[test]
    fn a_mark_is_a_call_of_the_kernel() {
        assert_ne!(CAST, DESTROY);
        for mark in [CAST, DESTROY] {
            let [code, registers, rest @ ..] = mark.to_ne_bytes();
            let call = instruction(CALL, 0, PSEUDO_KFUNC_CALL, 0, 0).to_ne_bytes();
            assert_eq!([code, registers], call[..2]);
            assert_eq!(rest[..2], [0, 0]);
        }
    }
}
