//! Finding a field of a structure by its path of names.

use btf_rs::{Btf, BtfType, Member, Struct, Type};

use super::{Flag, MAX_CHAIN};

/// A field that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the start of the structure.
    pub bit_offset: u32,
    /// In bytes; `None` for a bit field and for a type without a size.
    pub size: Option<usize>,
    /// Bits of a bit field.
    pub bits: Option<u32>,
}

impl Found {
    /// Its bits, of one byte.
    pub fn flag(self) -> Flag {
        let bit = self.bit_offset % 8;
        let mask = match self.bits {
            None => 0xff,
            // BTF counts bits in the order of the machine's bytes.
            Some(bits) if cfg!(target_endian = "little") => (((1 << bits) - 1) << bit) & 0xff,
            Some(bits) => (((1 << bits) - 1) << 8 >> (bit + bits)) & 0xff,
        };
        Flag {
            byte: self.bit_offset / 8,
            mask,
        }
    }
}

/// Follows a path of names from a structure down.
pub fn follow(btf: &Btf, structure: &Struct, path: &str) -> Option<Found> {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let (member, bit_offset) = find(btf, structure, name)?;
    let found = match rest {
        None => {
            let bits = member.bitfield_size().filter(|bits| *bits > 0);
            let size = if bits.is_some() {
                None
            } else {
                size(btf, &member)
            };
            return Some(Found {
                bit_offset,
                size,
                bits,
            });
        }
        Some(rest) => match target(btf, &member)? {
            Type::Struct(inner) | Type::Union(inner) => follow(btf, &inner, rest)?,
            _ => return None,
        },
    };
    Some(Found {
        bit_offset: bit_offset + found.bit_offset,
        ..found
    })
}

/// A member by its name, also inside anonymous structures and unions, which C
/// treats as if their members were the outer one's.
pub fn find(btf: &Btf, structure: &Struct, name: &str) -> Option<(Member, u32)> {
    structure.members.iter().find_map(|member| {
        if is_named(btf, member, name) {
            return Some((member.clone(), member.bit_offset()));
        }
        if !is_named(btf, member, "") {
            return None;
        }
        match target(btf, member)? {
            Type::Struct(inner) | Type::Union(inner) => {
                find(btf, &inner, name).map(|(found, offset)| (found, member.bit_offset() + offset))
            }
            _ => None,
        }
    })
}

/// The type behind typedefs, qualifiers and tags.
pub fn target(btf: &Btf, from: &dyn BtfType) -> Option<Type> {
    btf.chained_type_iter(from).take(MAX_CHAIN).find(|found| {
        !matches!(
            found,
            Type::Typedef(_)
                | Type::Const(_)
                | Type::Volatile(_)
                | Type::Restrict(_)
                | Type::TypeTag(_)
                | Type::DeclTag(_)
        )
    })
}

/// Size in bytes, of the types that the programs read.
pub fn size(btf: &Btf, from: &dyn BtfType) -> Option<usize> {
    match target(btf, from)? {
        Type::Int(found) => Some(found.size()),
        Type::Struct(found) | Type::Union(found) => Some(found.size()),
        Type::Enum(found) => Some(found.size()),
        // BPF programs see 64-bit kernels only, and so does this agent.
        Type::Ptr(_) => Some(size_of::<u64>()),
        _ => None,
    }
}

pub fn is_named(btf: &Btf, item: &dyn BtfType, name: &str) -> bool {
    btf.resolve_name(item).is_ok_and(|found| found == name)
}
