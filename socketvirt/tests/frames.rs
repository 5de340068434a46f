//! The frames of BPF functions that call one another fit the kernel's stack.
//!
//! Before Linux 6.13 a chain of calls has 512 bytes (K-BPF-11 in `docs/kernel`),
//! and a program that needs more is refused. This adds up what the verifier of
//! these kernels does, for every function of the object: `check_max_stack_depth`
//! in kernel/bpf/verifier.c.

use std::collections::{BTreeMap, BTreeSet};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind};
use socketvirt::bpf::object::OBJECT;

/// The stack of a chain of calls (`MAX_BPF_STACK`).
const STACK: u64 = 512;

/// A frame takes a multiple of this.
const UNIT: u64 = 32;

/// Instructions are of this size.
const SIZE: usize = 8;

/// The register that points behind the frame.
const FRAME: u8 = 10;

/// A function: its section, and where it begins there.
type Place = (usize, u64);

struct Function {
    name: String,
    /// Bytes of its own frame.
    frame: u64,
    /// Functions that it calls, or has a helper call.
    calls: BTreeSet<Place>,
}

/// One instruction (include/uapi/linux/bpf.h).
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i64,
    value: i64,
}

impl Instruction {
    fn of(bytes: &[u8]) -> Self {
        let offset = i16::from_le_bytes([bytes[2], bytes[3]]);
        let value = i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Self {
            code: bytes[0],
            to: bytes[1] & 0xf,
            from: bytes[1] >> 4,
            offset: offset.into(),
            value: value.into(),
        }
    }
}

const LOAD_WIDE: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD_VALUE: u8 = 0x07;
const CALL: u8 = 0x85;
/// A call of a function of the object (`BPF_PSEUDO_CALL`).
const OWN: u8 = 1;

/// Classes of instructions.
const CLASS: u8 = 0x07;
const LOAD: u8 = 0x01;
const STORE_VALUE: u8 = 0x02;
const STORE: u8 = 0x03;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;

/// Returns how far below the frame pointer the instructions reach.
fn frame(instructions: &[Instruction]) -> u64 {
    // Distances from the frame pointer of registers that were made from it.
    let mut known: BTreeMap<u8, i64> = BTreeMap::from([(FRAME, 0)]);
    let mut lowest = 0;
    let mut wide = false;
    for one in instructions {
        if std::mem::take(&mut wide) {
            continue;
        }
        match one.code & CLASS {
            STORE | STORE_VALUE => {
                if let Some(distance) = known.get(&one.to) {
                    lowest = lowest.min(distance + one.offset);
                }
            }
            LOAD => {
                if let Some(distance) = known.get(&one.from) {
                    lowest = lowest.min(distance + one.offset);
                }
                known.remove(&one.to);
            }
            ALU64 if one.code == MOVE => match known.get(&one.from).copied() {
                Some(distance) => drop(known.insert(one.to, distance)),
                None => drop(known.remove(&one.to)),
            },
            ALU64 if one.code == ADD_VALUE => {
                if let Some(distance) = known.get_mut(&one.to) {
                    *distance += one.value;
                    lowest = lowest.min(*distance);
                }
            }
            ALU | ALU64 => drop(known.remove(&one.to)),
            _ => {}
        }
        if one.code == LOAD_WIDE {
            known.remove(&one.to);
            wide = true;
        }
        if one.code == CALL {
            known.retain(|register, _| *register > 5);
        }
    }
    lowest.unsigned_abs()
}

/// Returns the function that a relocated instruction calls, or names for a helper
/// to call; none for one that names a map.
fn called(
    object: &object::File<'_>,
    relocation: &object::Relocation,
    one: Instruction,
) -> Option<Place> {
    let RelocationTarget::Symbol(index) = relocation.target() else {
        return None;
    };
    let target = object.symbol_by_index(index).unwrap();
    let section = object.section_by_index(target.section_index()?).unwrap();
    if section.kind() != object::SectionKind::Text {
        return None;
    }
    let offset = match (target.kind(), one.code) {
        (SymbolKind::Section, CALL) => (one.value + 1) * 8,
        (_, CALL) => 0,
        _ => one.value,
    };
    Some((
        section.index().0,
        target.address().wrapping_add_signed(offset),
    ))
}

fn functions() -> BTreeMap<Place, Function> {
    let object = object::File::parse(OBJECT).unwrap();
    let mut found = BTreeMap::new();
    for symbol in object.symbols() {
        let (SymbolKind::Text, Some(section)) = (symbol.kind(), symbol.section_index()) else {
            continue;
        };
        let section = object.section_by_index(section).unwrap();
        let (start, end) = (symbol.address(), symbol.address() + symbol.size());
        let bytes = section.data_range(start, end - start).unwrap().unwrap();
        let instructions: Vec<_> = bytes.chunks_exact(SIZE).map(Instruction::of).collect();
        let relocated: BTreeMap<u64, _> = section.relocations().collect();
        let places = (start..).step_by(SIZE);
        let calls = places.zip(&instructions).filter_map(|(at, one)| {
            let Some(relocation) = relocated.get(&at) else {
                let to = at.wrapping_add_signed((one.value + 1) * 8);
                return (one.code == CALL && one.from == OWN).then_some((section.index().0, to));
            };
            called(&object, relocation, *one)
        });
        let calls = calls.collect();
        let function = Function {
            name: symbol.name().unwrap().to_owned(),
            frame: frame(&instructions),
            calls,
        };
        found.insert((section.index().0, start), function);
    }
    found
}

/// Returns the stack that a chain of calls from a function takes at most, and its
/// functions with their frames.
fn deepest(functions: &BTreeMap<Place, Function>, from: Place) -> (u64, String) {
    let function = functions.get(&from).expect("a call leads to a function");
    let own = function.frame.max(1).next_multiple_of(UNIT);
    let (below, chain) = function
        .calls
        .iter()
        .map(|call| deepest(functions, *call))
        .max()
        .unwrap_or_default();
    (own + below, format!("{} ({own}) {chain}", function.name))
}

#[test]
fn every_chain_of_calls_fits_the_stack_of_older_kernels() {
    let functions = functions();
    let calls: usize = functions.values().map(|one| one.calls.len()).sum();
    assert!(functions.len() > 30, "{} functions", functions.len());
    assert!(calls > 20, "{calls} calls");
    let found: Vec<_> = functions
        .keys()
        .map(|place| deepest(&functions, *place))
        .collect();
    // The look at a pair is the deepest: were it shorter, calls would not be seen.
    let longest = found.iter().max().unwrap();
    assert!(longest.1.starts_with("sv_watch"), "{longest:?}");
    let refused: Vec<_> = found.iter().filter(|(depth, _)| *depth > STACK).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// A callback of `bpf_loop` counts like a call.
#[test]
fn callbacks_are_found() {
    let functions = functions();
    let (_, watch) = functions
        .iter()
        .find(|(_, one)| one.name == "sv_watch")
        .unwrap();
    assert_eq!(watch.calls.len(), 3, "notes, hot pairs, places");
}

#[test]
fn a_frame_is_what_its_instructions_reach() {
    let one = |code, to, from, offset, value| Instruction {
        code,
        to,
        from,
        offset,
        value,
    };
    // *(u64 *)(r10 - 8) = r1; r2 = r10; r2 += -40; r3 = r2; *(u8 *)(r3 - 1) = 0
    let code = [
        one(0x7b, 10, 1, -8, 0),
        one(MOVE, 2, 10, 0, 0),
        one(ADD_VALUE, 2, 0, 0, -40),
        one(MOVE, 3, 2, 0, 0),
        one(0x72, 3, 0, -1, 0),
    ];
    assert_eq!(frame(&code[..1]), 8);
    assert_eq!(frame(&code[..3]), 40);
    assert_eq!(frame(&code), 41);
    // A register that a call has overwritten says nothing.
    let called = [code[1], one(CALL, 0, 0, 0, 1), code[2]];
    assert_eq!(frame(&called), 0);
}
