//! A copy of one kernel socket, from which a row is filled.
//!
//! One copy and then plain loads are cheaper. A row shows about a hundred
//! fields, and a call of `bpf_probe_read_kernel` for each would cost more than
//! all the rest.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::record::{
    options::UNKNOWN,
    places::Place,
    row::{Family, Kind, Protocol, State},
};

use super::scratch::{Identity, SNAPSHOT};
use crate::maps::PLACES;

/// A place of `PLACES`. Volatile, because the compiler must not fold what
/// stands there until the loader has replaced it.
macro_rules! place {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::PLACES.$field) }
    }};
}
pub(crate) use place;

/// A size of `PLACES`.
macro_rules! size {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const PLACES.$field) }
    }};
}

/// Reads a value at `address`; zero when the address cannot be read or the
/// place is missing.
#[inline(always)]
pub fn read<T: Copy + Default>(address: u64, place: Place) -> T {
    if address == 0 || place.offset == Place::MISSING {
        return T::default();
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value` or fails, and checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (address + u64::from(place.offset)) as *const c_void,
        )
    };
    if failed == 0 {
        // SAFETY: written by the helper.
        unsafe { value.assume_init() }
    } else {
        T::default()
    }
}

impl Identity {
    /// Reads the identity of the socket at `sock`. A request, or what is left
    /// of a socket, has only the first part of one, and belongs to TCP.
    #[inline(always)]
    pub fn of(sock: u64) -> Self {
        let state = State::of(read::<u8>(sock, place!(state)));
        let family = Family::of(read::<u16>(sock, place!(family)));
        let (kind, protocol) = if state.is_mini() {
            (Kind::STREAM, Protocol::TCP)
        } else {
            (
                Kind::of(read::<u16>(sock, place!(kind))),
                Protocol::of(read::<u16>(sock, place!(protocol))),
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
    pub fn get<T: Copy + Default>(&self, place: Place) -> T {
        let offset = place.offset as usize;
        if offset > SNAPSHOT - size_of::<T>() {
            return T::default();
        }
        // SAFETY: within the copy, which has any bytes.
        unsafe { core::ptr::read_volatile(self.bytes.add(offset).cast::<T>()) }
    }

    /// Returns the value of an option of one byte, or of bits in one;
    /// [`UNKNOWN`] where this kernel does not have it.
    #[inline(always)]
    pub fn byte(&self, place: Place) -> i32 {
        if place.offset == Place::MISSING {
            return UNKNOWN;
        }
        let byte = u32::from(self.get::<u8>(place));
        if place.mask == 0 {
            return byte as i32;
        }
        ((byte & u32::from(place.mask)) >> place.shift) as i32
    }

    /// Returns the value of an option of four bytes.
    #[inline(always)]
    pub fn word(&self, place: Place) -> i32 {
        if place.offset == Place::MISSING {
            return UNKNOWN;
        }
        self.get(place)
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
