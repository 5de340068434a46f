//! Offsets of fields and values of constants, from the kernel's own BTF.
//!
//! Rust has no CO-RE, so the agent asks here, by name. Nothing is guessed: a
//! name that is missing, described twice in two ways, or of another size than
//! the programs read, is an error.

mod fields;

use std::path::Path;

use btf_rs::{Backend, Btf, Struct, Type};
use socketvirt_common::record::fields::Field;

use self::fields::{Found, follow, is_named};

/// Where the kernel shows the types it was built from.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Typedefs, qualifiers and tags that may stand between a member and its type.
const MAX_CHAIN: usize = 32;

/// The kernel's layout does not fit what the programs read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// BTF could not be read.
    #[error(
        "reading the kernel's types from {path}: {source}; a kernel with CONFIG_DEBUG_INFO_BTF=y is needed"
    )]
    Read {
        /// The file.
        path: String,
        /// The answer of the kernel or of the parser.
        source: btf_rs::Error,
    },

    /// A whole structure is missing.
    #[error(
        "the kernel's types have no `struct {structure}`, where socketvirt reads {purpose}: {hint}"
    )]
    NoStructure {
        /// Name of the structure.
        structure: &'static str,
        /// The purpose of the field, in words.
        purpose: &'static str,
        /// The operator's next step.
        hint: &'static str,
    },

    /// A field is missing.
    #[error(
        "`struct {structure}` of this kernel has no field `{field}`, where socketvirt reads {purpose}; \
         without it bytes could be lost, so this kernel is not accelerated: use another kernel, or a \
         socketvirt that knows this one"
    )]
    NoField {
        /// Name of the structure.
        structure: &'static str,
        /// Name of the field, with the fields that it lies in.
        field: &'static str,
        /// The purpose of the field, in words.
        purpose: &'static str,
    },

    /// A field has another size than the programs read.
    #[error(
        "`{structure}.{field}` is {found} bytes on this kernel and not {expected}, and socketvirt \
         reads {purpose} there; this kernel is not accelerated: use another kernel, or a socketvirt \
         that knows this one"
    )]
    Size {
        /// Name of the structure.
        structure: &'static str,
        /// Name of the field, with the fields that it lies in.
        field: &'static str,
        /// The purpose of the field, in words.
        purpose: &'static str,
        /// Bytes that the programs read.
        expected: usize,
        /// Bytes that the kernel has there.
        found: usize,
    },

    /// BTF describes one structure twice, in two ways.
    #[error(
        "the kernel's types describe `{structure}.{field}` twice, at different offsets; this kernel \
         is not accelerated: its BTF is damaged, rebuild it with a current pahole"
    )]
    Ambiguous {
        /// Name of the structure.
        structure: &'static str,
        /// Name of the field, with the fields that it lies in.
        field: &'static str,
    },

    /// A constant is missing.
    #[error(
        "`enum {enumeration}` of this kernel has no `{constant}`, by which socketvirt knows {purpose}; \
         use another kernel, or a socketvirt that knows this one"
    )]
    NoConstant {
        /// Name of the enumeration.
        enumeration: &'static str,
        /// Name of the constant.
        constant: &'static str,
        /// The purpose of the constant, in words.
        purpose: &'static str,
    },
}

/// The types of one kernel.
pub struct KernelTypes(Btf);

impl KernelTypes {
    /// The running kernel's.
    ///
    /// Mapping the file and reading a dozen types takes 7 ms, parsing all of
    /// them 60 ms. sysfs lets this file be mapped from Linux 6.16 on.
    ///
    /// # Errors
    /// [`LayoutError::Read`].
    pub fn running() -> Result<Self, LayoutError> {
        Self::read(Path::new(VMLINUX))
    }

    fn read(path: &Path) -> Result<Self, LayoutError> {
        Self::with(path, Backend::Mmap).or_else(|_| Self::with(path, Backend::Cache))
    }

    #[cfg(test)]
    pub(in crate::kernel) fn running_with(backend: Backend) -> Self {
        Self::with(Path::new(VMLINUX), backend).unwrap()
    }

    fn with(path: &Path, backend: Backend) -> Result<Self, LayoutError> {
        match Btf::from_file_with_backend(path, backend) {
            Ok(btf) => Ok(Self(btf)),
            Err(source) => Err(LayoutError::Read {
                path: path.display().to_string(),
                source,
            }),
        }
    }

    /// The structure of this name. `purpose` and `hint` are for the message
    /// that tells an operator that it is missing.
    ///
    /// # Errors
    /// [`LayoutError::NoStructure`].
    pub fn structure(
        &self,
        name: &'static str,
        purpose: &'static str,
        hint: &'static str,
    ) -> Result<Structure<'_>, LayoutError> {
        // Ids of one name may also belong to a typedef or a function.
        let candidates: Vec<Struct> = self
            .0
            .resolve_types_by_name(name)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|found| match found {
                Type::Struct(found) => Some(found),
                _ => None,
            })
            .collect();
        if candidates.is_empty() {
            return Err(LayoutError::NoStructure {
                structure: name,
                purpose,
                hint,
            });
        }
        Ok(Structure {
            btf: &self.0,
            name,
            candidates,
        })
    }

    /// The number of a structure among the types, unless it is there twice.
    #[must_use]
    pub fn structure_id(&self, name: &str) -> Option<u32> {
        self.id(name, |found| matches!(found, Type::Struct(_)))
    }

    /// The same of a function.
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id(name, |found| matches!(found, Type::Func(_)))
    }

    fn id(&self, name: &str, fits: impl Fn(&Type) -> bool) -> Option<u32> {
        let ids = self.0.resolve_ids_by_name(name).ok()?;
        let mut fitting = ids.into_iter().filter(|&id| {
            self.0
                .resolve_type_by_id(id)
                .is_ok_and(|found| fits(&found))
        });
        let id = fitting.next()?;
        fitting.next().is_none().then_some(id)
    }

    /// The value of a constant of an enumeration, when it has it.
    #[must_use]
    pub fn constant(&self, enumeration: &str, constant: &str) -> Option<u32> {
        self.0
            .resolve_types_by_name(enumeration)
            .ok()?
            .into_iter()
            .filter_map(|found| match found {
                Type::Enum(found) => Some(found.members),
                _ => None,
            })
            .flatten()
            .find(|member| is_named(&self.0, member, constant))
            .map(|member| member.val())
    }
}

/// A structure of the kernel.
pub struct Structure<'a> {
    btf: &'a Btf,
    name: &'static str,
    /// More than one when two parts of the kernel were built with types that
    /// pahole could not merge.
    candidates: Vec<Struct>,
}

impl Structure<'_> {
    /// Byte offset of `field`, which may be a path (`sk_backlog.rmem_alloc`)
    /// and must have `size` bytes.
    ///
    /// # Errors
    /// When the field is missing or is not what the programs read.
    pub fn offset(
        &self,
        field: &'static str,
        size: usize,
        purpose: &'static str,
    ) -> Result<u32, LayoutError> {
        let member = self.required(field, purpose)?;
        // A bit field has no size of its own, so it never equals one.
        match member.size {
            Some(found) if found == size => Ok(member.bit_offset / 8),
            found => Err(LayoutError::Size {
                structure: self.name,
                field,
                purpose,
                expected: size,
                found: found.unwrap_or(0),
            }),
        }
    }

    /// Byte offset of a structure inside this one, whatever its size.
    ///
    /// # Errors
    /// When the field is missing.
    pub fn offset_of(
        &self,
        field: &'static str,
        purpose: &'static str,
    ) -> Result<u32, LayoutError> {
        Ok(self.required(field, purpose)?.bit_offset / 8)
    }

    /// The byte and the mask of a flag, which may be a bit field or a `bool`.
    ///
    /// # Errors
    /// When the field is missing.
    pub fn flag(&self, field: &'static str, purpose: &'static str) -> Result<Flag, LayoutError> {
        self.required(field, purpose).map(Found::flag)
    }

    /// The same for a flag that only some kernels have.
    ///
    /// # Errors
    /// [`LayoutError::Ambiguous`].
    pub fn optional_flag(&self, field: &'static str) -> Result<Option<Flag>, LayoutError> {
        Ok(self.find(field)?.map(Found::flag))
    }

    /// Where a field lies, for a column that is unknown without it. `size` 0
    /// stands for bits of one byte, and for what has no size of its own.
    ///
    /// # Errors
    /// When the field is there in another size than the programs read.
    pub fn locate(&self, field: &'static str, size: usize) -> Result<Field, LayoutError> {
        let Some(found) = self.find(field)? else {
            return Ok(Field::NONE);
        };
        if size != 0 && found.size != Some(size) {
            return Err(LayoutError::Size {
                structure: self.name,
                field,
                purpose: "a column of the table",
                expected: size,
                found: found.size.unwrap_or(0),
            });
        }
        let offset = found.bit_offset / 8;
        Ok(match u8::try_from(found.flag().mask) {
            Ok(mask) if found.bits.is_some() => Field::bits(offset, mask),
            _ => Field::at(offset),
        })
    }

    /// Bytes of the whole structure.
    #[must_use]
    pub fn size(&self) -> u32 {
        let size = self.candidates.first().map_or(0, Struct::size);
        u32::try_from(size).unwrap_or(u32::MAX)
    }

    fn required(&self, field: &'static str, purpose: &'static str) -> Result<Found, LayoutError> {
        self.find(field)?.ok_or(LayoutError::NoField {
            structure: self.name,
            field,
            purpose,
        })
    }

    fn find(&self, field: &'static str) -> Result<Option<Found>, LayoutError> {
        let mut all = self
            .candidates
            .iter()
            .map(|candidate| follow(self.btf, candidate, field));
        let first = all.next().flatten();
        if all.all(|other| other == first) {
            Ok(first)
        } else {
            Err(LayoutError::Ambiguous {
                structure: self.name,
                field,
            })
        }
    }
}

/// A byte of a structure and the bits in it that are a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Offset of the byte.
    pub byte: u32,
    /// Bits of the flag in that byte.
    pub mask: u32,
}

#[cfg(test)]
mod tests;
