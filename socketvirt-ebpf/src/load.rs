//! Reading numbers out of the kernel's own structures, at the least cost: what
//! only the running kernel tells is in the instructions themselves, and a field
//! is loaded without a call.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use socketvirt_common::record::layout::CAST;

use crate::kernel::Sock;

/// A number of the kernel's layout, which the loader writes into the very
/// instruction.
macro_rules! offset {
    ($($field:ident).+) => {{
        const MARK: u32 = {
            let _is_a_word: fn(&socketvirt_common::record::layout::KernelLayout) -> &u32 =
                |layout| &layout.$($field).+;
            socketvirt_common::record::layout::OFFSET
                + core::mem::offset_of!(socketvirt_common::record::layout::KernelLayout, $($field).+) as u32
        };
        let value: u64;
        // SAFETY: sets a register.
        unsafe {
            core::arch::asm!(
                "{value} = {mark}",
                value = out(reg) value,
                mark = const MARK,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: all words of the layout are. It spares a mask at each.
        unsafe { core::hint::assert_unchecked(value < 1 << 31) };
        value as u32
    }};
}
pub(crate) use offset;

/// A part of the kernel's layout that is more than a word. Volatile, because
/// the compiler must not fold the zero that stands there until the loader has
/// replaced it.
macro_rules! layout {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::LAYOUT.$field) }
    }};
}
pub(crate) use layout;

/// What [`read`] gives: numbers, of which all bits are values.
pub trait Number: Copy {
    /// The offset of a field of `struct tcp_sock` of this size.
    fn anchor() -> u32;
}
macro_rules! number {
    ($($number:ty: $anchor:ident),+) => {$(
        impl Number for $number {
            #[inline(always)]
            fn anchor() -> u32 {
                offset!($anchor)
            }
        }
    )+};
}
number!(u8: sk_state, u16: sk_num, u32: write_seq, i32: write_seq, u64: sk_cookie);

/// Reads a number at `address`; zero when the address cannot be read. No
/// branch tells, as each would double what the verifier has to look at.
#[inline(always)]
pub fn read<T: Number>(address: u64, offset: u32) -> T {
    if offset!(tcp_sock_type) == 0 {
        return copied(address, offset);
    }
    // The verifier permits loads where the kernel's type has a field of their
    // size, and looks at nothing else.
    let anchor = T::anchor();
    let sock = cast(address + u64::from(offset) - u64::from(anchor));
    // SAFETY: a load at any address is made so that it gives zero when it
    // faults (`BPF_PROBE_MEM`).
    unsafe { core::ptr::read_volatile(sock.add(anchor as usize).cast()) }
}

/// Lets the verifier take an address for that of a `struct tcp_sock`, whose
/// fields a program loads without a call: some ten times as fast as
/// `bpf_probe_read_kernel`, which copies.
#[inline(always)]
fn cast(address: u64) -> *const u8 {
    let kind = u64::from(offset!(tcp_sock_type));
    let sock: *const u8;
    // SAFETY: `bpf_rdonly_cast` gives its first argument back; the verifier
    // leaves a move of it, and no call (`fixup_kfunc_call`). The loader writes
    // its number into the instruction.
    unsafe {
        asm!(
            ".8byte {call}",
            call = const CAST,
            inlateout("r1") address => _,
            inlateout("r2") kind => _,
            lateout("r0") sock,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(pure, nomem, nostack),
        );
    }
    sock
}

/// The same on a kernel that does not let a program cast.
#[inline(always)]
fn copied<T: Number>(address: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the source and writes all of `value`: zeros when
    // it fails (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c).
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (address + u64::from(offset)) as *const c_void,
        );
        value.assume_init()
    }
}

/// What a message needs to know of its sender.
#[derive(Clone, Copy)]
pub struct Sender {
    /// `skc_state`.
    pub state: u8,
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// `tcp_sock.write_seq`.
    pub write_seq: u32,
}

/// What it needs to know of its receiver at every time.
#[derive(Clone, Copy)]
pub struct Receiver {
    /// `skc_cookie`: 0 when the memory is gone or the socket has none.
    pub cookie: u64,
    /// `sk_shutdown`.
    pub shutdown: u8,
    /// `sk_rmem_alloc`.
    pub queued: u32,
    /// `sk_rcvbuf`.
    pub rcvbuf: u32,
}

/// Loads a field of a cast socket, whose offset the verifier checks against the
/// kernel's own type.
macro_rules! field {
    ($typed:ident, $field:ident) => {{
        let offset = offset!($field) as usize;
        // SAFETY: as in `read`.
        unsafe { core::ptr::read_volatile($typed.add(offset).cast()) }
    }};
}

impl Sock {
    /// The socket of an `sk_msg` program's context, with which the verifier
    /// permits no arithmetic. There is always one.
    #[inline(always)]
    pub fn of_message(sk: *mut c_void) -> Option<Self> {
        if offset!(tcp_sock_type) != 0 {
            return Some(Self(cast(sk as u64) as u64));
        }
        // SAFETY: the verifier checks `sk`.
        let sock = unsafe { bpf_skc_to_tcp_sock(sk) };
        (!sock.is_null()).then_some(Self(sock as u64))
    }

    /// The fields of a sender, all at once: asking before each whether a program
    /// may cast would cost more than they do.
    #[inline(always)]
    pub fn sender(self) -> Sender {
        if offset!(tcp_sock_type) == 0 {
            return Sender {
                state: self.state(),
                shutdown: self.shutdown(),
                write_seq: read(self.0, offset!(write_seq)),
            };
        }
        let sock = cast(self.0);
        Sender {
            state: field!(sock, sk_state),
            shutdown: field!(sock, sk_shutdown),
            write_seq: field!(sock, write_seq),
        }
    }

    /// The fields of a receiver.
    #[inline(always)]
    pub fn receiver(self) -> Receiver {
        if offset!(tcp_sock_type) == 0 {
            return Receiver {
                cookie: self.cookie(),
                shutdown: self.shutdown(),
                queued: self.queued(),
                rcvbuf: self.rcvbuf(),
            };
        }
        let sock = cast(self.0);
        Receiver {
            cookie: field!(sock, sk_cookie),
            shutdown: field!(sock, sk_shutdown),
            queued: field!(sock, sk_rmem_alloc),
            rcvbuf: field!(sock, sk_rcvbuf),
        }
    }
}
