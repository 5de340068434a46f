//! Records in the maps of aya, which reads bytes that anyone with the right to
//! write the map may have written.
//!
//! Numbers take any bytes, so a record of numbers is aya's [`Pod`] by [`pod!`](crate::pod).
//! An enumeration does not. A map with records that hold one has [`Raw`] ones,
//! which are checked before they are read.

use core::{any::type_name, mem::MaybeUninit, slice};
use std::io;

use aya::{Pod, maps::MapError};
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use super::{
    event::TableStats,
    policy::{NetKey, NetSets, PortSets, RuleStats, Set, SetKey, TextKey},
    reader::Rings,
    stats::Stats,
    watch::Tiers,
};

/// Makes records of numbers without padding keys and values of aya's maps.
///
/// ```
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
/// struct Port {
///     number: u16,
///     reserved: u16,
/// }
/// socketvirt_common::pod!(Port);
/// ```
///
/// A `bool` has bytes that are none of its values:
///
/// ```compile_fail
/// use zerocopy::{FromZeros, Immutable, IntoBytes};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, FromZeros, Immutable, IntoBytes)]
/// struct Switch {
///     on: bool,
/// }
/// socketvirt_common::pod!(Switch);
/// ```
///
/// So has an enumeration:
///
/// ```compile_fail
/// use socketvirt_common::{pod, record::config::Mode};
///
/// pod!(Mode);
/// ```
///
/// Padding has no bytes to show to the kernel:
///
/// ```compile_fail
/// use zerocopy::{FromBytes, Immutable};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, FromBytes, Immutable)]
/// struct Padded {
///     number: u16,
///     wide: u64,
/// }
/// socketvirt_common::pod!(Padded);
/// ```
#[macro_export]
macro_rules! pod {
    ($($record:ty),* $(,)?) => {$(
        const _: () = {
            const fn takes_any_bytes<T>()
            where
                T: $crate::zerocopy::FromBytes
                    + $crate::zerocopy::Immutable
                    + $crate::zerocopy::IntoBytes,
            {
            }
            takes_any_bytes::<$record>();
        };
        // SAFETY: the bounds above: all bytes are a value, and a value is all bytes.
        unsafe impl $crate::aya::Pod for $record {}
    )*};
}

pod!(
    NetKey, NetSets, PortSets, Rings, RuleStats, Set, SetKey, Stats, TableStats, TextKey, Tiers
);

/// The bytes of a record, which may be none of its values.
///
/// ```
/// use socketvirt_common::record::{config::Mode, raw::Raw};
///
/// assert_eq!(Raw::of(Mode::Adopt).value().unwrap(), Mode::Adopt);
/// ```
///
/// A record with padding has no such bytes:
///
/// ```compile_fail
/// #[repr(C)]
/// #[derive(Clone, Copy, zerocopy::FromZeros, zerocopy::Immutable)]
/// struct Padded {
///     number: u16,
///     wide: u64,
/// }
/// socketvirt_common::record::raw::Raw::of(Padded { number: 1, wide: 2 });
/// ```
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Raw<T: Copy>(MaybeUninit<T>);

// SAFETY: `MaybeUninit` takes any bytes. None of them lacks a value: those of a
// record have no padding (`IntoBytes`), and the kernel writes all of them.
unsafe impl<T: Copy + Immutable + IntoBytes + TryFromBytes + 'static> Pod for Raw<T> {}

impl<T: Copy + Immutable + IntoBytes + TryFromBytes> Raw<T> {
    /// The bytes of a value.
    pub const fn of(value: T) -> Self {
        Self(MaybeUninit::new(value))
    }

    /// Returns the value that the bytes are.
    ///
    /// # Errors
    /// When they are none.
    pub fn value(&self) -> Result<T, MapError> {
        let start = self.0.as_ptr().cast();
        // SAFETY: the bytes of `self`, all of them written: see `Pod` above.
        let bytes = unsafe { slice::from_raw_parts::<u8>(start, size_of::<T>()) };
        T::try_read_from_bytes(bytes).map_err(|_| {
            let message = std::format!(
                "a map holds a {} that this build cannot have written: run the `socketvirt` that has",
                type_name::<T>()
            );
            MapError::IoError(io::Error::new(io::ErrorKind::InvalidData, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::program::Program;

    #[test]
    fn bytes_that_are_no_value_are_an_error() {
        let side = core::mem::offset_of!(Program, side);
        let is_value = |number: u8| {
            let mut bytes = [0_u8; size_of::<Program>()];
            bytes[if cfg!(target_endian = "little") {
                side
            } else {
                side + 3
            }] = number;
            // SAFETY: `Raw` takes any bytes, and is as large as the record.
            let raw: Raw<Program> = unsafe { core::mem::transmute(bytes) };
            raw.value().is_ok()
        };
        assert!(is_value(1));
        assert!(!is_value(2));
    }
}
