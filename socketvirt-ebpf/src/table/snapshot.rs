//! A copy of one kernel socket, from which a row is filled.
//!
//! One copy and then plain loads are cheaper. A row shows about a hundred
//! fields, and a call of `bpf_probe_read_kernel` for each would cost more than
//! all the rest.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::record::{
    fields::Field,
    options::UNKNOWN,
    row::{Family, Kind, Protocol, State},
};
use zerocopy::FromBytes;

use crate::{
    kernel::load::copied,
    maps::FIELDS,
    scratch::{Identity, SNAPSHOT},
};

/// A field of `FIELDS`. Volatile, because the compiler must not fold what
/// stands there until the agent has replaced it.
macro_rules! at {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::FIELDS.$field) }
    }};
}
pub(crate) use at;

/// A size of `FIELDS`.
macro_rules! size {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const FIELDS.$field) }
    }};
}

/// Reads a value at `address`; zero when the address cannot be read or the
/// field is missing.
#[inline(always)]
pub fn read<T: FromBytes>(address: u64, field: Field) -> T {
    if address == 0 || field.offset == Field::MISSING {
        return T::new_zeroed();
    }
    copied(address, field.offset)
}

impl Identity {
    /// Reads the identity of the socket at `sock`. A request, or what is left
    /// of a socket, has only the first part of one, and belongs to TCP.
    #[inline(always)]
    pub fn of(sock: u64) -> Self {
        let state = State::of(read::<u8>(sock, at!(state)));
        let family = Family::of(read::<u16>(sock, at!(family)));
        let (kind, protocol) = if state.is_mini() {
            (Kind::STREAM, Protocol::TCP)
        } else {
            (
                Kind::of(read::<u16>(sock, at!(kind))),
                Protocol::of(read::<u16>(sock, at!(protocol))),
            )
        };
        Self {
            family,
            kind,
            protocol,
            state,
        }
    }

    /// True for a kind of socket that the table has rows for.
    #[inline(always)]
    pub fn has_rows(&self) -> bool {
        match self.family {
            Family::UNIX => true,
            Family::INET | Family::INET6 => {
                matches!(
                    self.protocol,
                    Protocol::TCP | Protocol::UDP | Protocol::UDPLITE
                ) && matches!(self.kind, Kind::STREAM | Kind::DGRAM)
            }
            Family::OTHER => false,
        }
    }
}

/// The copy of one socket.
#[derive(Clone, Copy)]
pub struct Snapshot {
    bytes: *const u8,
    /// Address of the original.
    pub sock: u64,
}

impl Snapshot {
    /// Copies the socket at `sock`.
    #[inline(always)]
    pub fn take(bytes: *mut u8, sock: u64, identity: &Identity) -> Option<Self> {
        // The sizes are constants for the verifier, on each branch one.
        let copied = if identity.state.is_mini() {
            copy(bytes, sock, size!(size_common))
        } else if matches!(identity.family, Family::UNIX) {
            copy(bytes, sock, size!(size_unix))
        } else if matches!(identity.protocol, Protocol::TCP) {
            copy(bytes, sock, size!(size_tcp))
        } else {
            copy(bytes, sock, size!(size_udp))
        };
        copied.then_some(Self { bytes, sock })
    }

    /// Returns a number of the copy; zero where this kernel does not have it.
    #[inline(always)]
    pub fn get<T: FromBytes>(&self, field: Field) -> T {
        let offset = field.offset as usize;
        if offset > SNAPSHOT - size_of::<T>() {
            return T::new_zeroed();
        }
        // SAFETY: within the copy, and all bytes are a value (`FromBytes`).
        unsafe { core::ptr::read_volatile(self.bytes.add(offset).cast::<T>()) }
    }

    /// Returns the value of an option of one byte, or of bits in one;
    /// [`UNKNOWN`] where this kernel does not have it.
    #[inline(always)]
    pub fn byte(&self, field: Field) -> i32 {
        if field.offset == Field::MISSING {
            return UNKNOWN;
        }
        let byte = u32::from(self.get::<u8>(field));
        if field.mask == 0 {
            return byte as i32;
        }
        ((byte & u32::from(field.mask)) >> field.shift) as i32
    }

    /// Returns the value of an option of four bytes.
    #[inline(always)]
    pub fn word(&self, field: Field) -> i32 {
        if field.offset == Field::MISSING {
            return UNKNOWN;
        }
        self.get(field)
    }
}

#[inline(always)]
fn copy(bytes: *mut u8, sock: u64, size: u32) -> bool {
    if size as usize > SNAPSHOT {
        return false;
    }
    // SAFETY: the room is `SNAPSHOT` bytes; the helper checks the source.
    unsafe { bpf_probe_read_kernel(bytes.cast(), size, sock as *const c_void) == 0 }
}
