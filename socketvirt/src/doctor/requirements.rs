//! The requirements of the agent, each with one line of what to do.

use std::fmt::Display;

use aya::programs::ProgramType;
use serde::Serialize;

use crate::kernel::{
    capabilities, fields,
    require::{self, NEEDS},
};

/// One thing that the agent needs, or would use.
#[derive(Clone, Debug, Serialize)]
pub struct Requirement {
    /// Its name; never changed.
    pub name: &'static str,
    /// True when acceleration needs it.
    pub needed: bool,
    /// True when it is there.
    pub met: bool,
    /// The finding, or what is missing and what to do.
    pub found: String,
}

impl Requirement {
    pub(super) fn fulfilled(name: &'static str, found: String) -> Self {
        Self {
            name,
            needed: true,
            met: true,
            found,
        }
    }

    pub(super) fn missing(name: &'static str, why: &dyn Display) -> Self {
        Self {
            name,
            needed: true,
            met: false,
            found: why.to_string(),
        }
    }

    pub(super) fn with_hint(mut self, hint: &str) -> Self {
        self.found = format!("{}; {hint}", self.found);
        self
    }

    fn optional(mut self) -> Self {
        self.needed = false;
        self
    }

    /// The fields were found.
    pub(super) fn layout() -> Self {
        Self::fulfilled("layout", "every field that the programs read".into())
    }

    /// The fields that the socket table shows; rows do without most of them.
    pub(super) fn table() -> Self {
        let found = match fields::fields() {
            Ok(fields) => fields::unknown(&fields),
            Err(error) => return Self::missing("table", &error).optional(),
        };
        if found.is_empty() {
            return Self::fulfilled("table", "every field that rows show".into()).optional();
        }
        let why = format!("this kernel does not tell {}", found.join(", "));
        Self::missing("table", &why).optional()
    }

    /// True when nothing that is needed is missing.
    #[must_use]
    pub fn is_fulfilled(&self) -> bool {
        self.met || !self.needed
    }
}

/// Returns what is asked of machine and caller before anything is loaded.
pub fn of_the_machine() -> Vec<Requirement> {
    NEEDS
        .iter()
        .map(|(name, ask)| match ask() {
            Ok(found) => Requirement::fulfilled(name, found),
            Err(error) => Requirement::missing(name, &error),
        })
        .collect()
}

/// Returns what an agent can be started without, but does not work without, or not for
/// every socket.
pub fn of_the_caller() -> Vec<Requirement> {
    capabilities::shortcomings()
        .iter()
        .map(|missing| {
            let found = Requirement::missing(missing.name, &missing.words);
            if missing.is_limit {
                found.optional()
            } else {
                found
            }
        })
        .collect()
}

/// Returns what depends on the kernel's version or its hardening.
pub fn of_the_kernel() -> [Requirement; 2] {
    let iterator = if require::iterator_locks_sockets() {
        Requirement::fulfilled(
            "iterator",
            "the TCP iterator holds the socket's lock".into(),
        )
    } else {
        Requirement::missing(
            "iterator",
            &"the TCP iterator does not hold the socket's lock, so that no socket can be adopted; \
              use Linux 6.5 or later",
        )
    };
    [iterator, fentry().optional()]
}

/// Finds whether programs at the entry of kernel functions are permitted. Nothing
/// needs them today.
fn fentry() -> Requirement {
    match aya::sys::is_program_supported(ProgramType::Tracing) {
        Ok(true) => Requirement::fulfilled("fentry", "permitted; not used".into()),
        Ok(false) => Requirement::missing("fentry", &"not in this kernel; not used"),
        Err(error) => {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            Requirement::missing("fentry", &format!("not permitted ({why}); not used"))
        }
    }
}
