//! Structures of the kernel by name, each looked up once: a look-up walks all of
//! the kernel's types.

use std::collections::HashMap;

use socketvirt_common::record::{fields::Field, line::Line};

use super::btf::{KernelTypes, LayoutError, Structure};

/// Those that were looked up.
pub struct Known<'a> {
    types: &'a KernelTypes,
    structures: HashMap<&'static str, Structure<'a>>,
}

impl<'a> Known<'a> {
    /// Of these types.
    #[must_use]
    pub fn new(types: &'a KernelTypes) -> Self {
        Self {
            types,
            structures: HashMap::new(),
        }
    }

    /// The structure of this name. `purpose` is for the message that it is
    /// missing.
    ///
    /// # Errors
    /// [`LayoutError::NoStructure`].
    pub fn structure(
        &mut self,
        name: &'static str,
        purpose: &'static str,
    ) -> Result<&Structure<'a>, LayoutError> {
        let hint = match name {
            "sk_psock" => "use a kernel with CONFIG_BPF_STREAM_PARSER=y, which has socket maps",
            _ => "use another kernel, or a socketvirt that knows this one",
        };
        if !self.structures.contains_key(name) {
            let found = self.types.structure(name, purpose, hint)?;
            self.structures.insert(name, found);
        }
        Ok(&self.structures[name])
    }

    /// Byte offset of the field of a line.
    ///
    /// # Errors
    /// When the field is missing or is not what the programs read.
    pub fn offset<R, P>(
        &mut self,
        line: &Line<R, P>,
        purpose: &'static str,
    ) -> Result<u32, LayoutError> {
        let structure = self.structure(line.structure, purpose)?;
        match line.size {
            0 => structure.offset_of(line.member, purpose),
            size => structure.offset(line.member, size, purpose),
        }
    }

    /// Where the field of a line lies; [`Field::NONE`] when this kernel does not
    /// have it.
    ///
    /// # Errors
    /// When it is there in another size than the programs read.
    pub fn field<R, P>(&mut self, line: &Line<R, P>) -> Result<Field, LayoutError> {
        match self.structure(line.structure, "a column of the table") {
            Ok(structure) => structure.locate(line.member, line.size),
            Err(_) => Ok(Field::NONE),
        }
    }
}
