//! What only userspace needs of the records.

use serde::Serialize;

use crate::{
    config::{Config, Mode, ReceiveMode},
    flow::Flow,
    layout::KernelLayout,
    pair::{End, EndKey},
    stats::Stats,
};

// SAFETY: repr(C) records without padding that is ever read, made of integers
// and of enumerations that only the programs of this workspace write.
unsafe impl aya::Pod for KernelLayout {}
// SAFETY: as above.
unsafe impl aya::Pod for Config {}
// SAFETY: as above.
unsafe impl aya::Pod for Stats {}
// SAFETY: as above.
unsafe impl aya::Pod for EndKey {}
// SAFETY: as above.
unsafe impl aya::Pod for End {}
// SAFETY: as above.
unsafe impl aya::Pod for Flow {}

impl Mode {
    /// The word for this mode in the summary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Adopt => "adopt",
            Self::Eager => "eager",
        }
    }
}

impl ReceiveMode {
    /// The word for this mode in the summary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TableOnly => "table-only",
            Self::TxOnly => "tx-only",
            Self::Unified => "unified",
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Serialize for ReceiveMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}
