//! Reading numbers out of the kernel's own structures, at the least cost.
//! Numbers that only the running kernel tells are in the instructions
//! themselves, and a field is loaded without a call.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::record::layout::CAST;
use zerocopy::FromBytes;

/// A number of the kernel's layout, which the agent writes into the very
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

/// A part of the kernel's layout that is more than a word.
///
/// It is volatile, because the compiler must not fold the zero that stands
/// there until the agent has replaced it.
macro_rules! layout {
    ($field:ident) => {{
        // SAFETY: a field of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::LAYOUT.$field) }
    }};
}
pub(crate) use layout;

/// Numbers that [`read`] gives.
pub trait Number: FromBytes {
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

/// Reads a number at `address`; zero when the address cannot be read. No branch
/// tells, as each would double what the verifier has to look at. (K-BPF-1 in
/// `docs/kernel`.)
#[inline(always)]
pub fn read<T: Number>(address: u64, offset: u32) -> T {
    if offset!(tcp_sock_type) == 0 {
        return copied(address, offset);
    }
    // The verifier permits loads where the kernel's type has a field of their
    // size. It looks at nothing else.
    let anchor = T::anchor();
    let sock = cast(address + u64::from(offset) - u64::from(anchor));
    // SAFETY: a load at any address is made so that it gives zero when it
    // faults (`BPF_PROBE_MEM`).
    unsafe { core::ptr::read_volatile(sock.add(anchor as usize).cast()) }
}

/// Makes the verifier take an address for that of a `struct tcp_sock`, whose
/// fields a program loads without a call. That is some ten times as fast as
/// `bpf_probe_read_kernel`, which copies. (K-BPF-6 in `docs/kernel`.)
#[inline(always)]
pub fn cast(address: u64) -> *const u8 {
    let kind = u64::from(offset!(tcp_sock_type));
    let sock: *const u8;
    // SAFETY: `bpf_rdonly_cast` gives its first argument back; the verifier
    // leaves a move of it, and no call (`fixup_kfunc_call`). The agent writes
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

/// Copies a value of any size, as [`read`] does on a kernel that does not let a
/// program cast; zeros when the address cannot be read.
#[inline(always)]
pub fn copied<T: FromBytes>(address: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the source and writes all of `value`: zeros when
    // it fails (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c). All
    // bytes are a value (`FromBytes`).
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (address + u64::from(offset)) as *const c_void,
        );
        value.assume_init()
    }
}

/// Returns an address as a number, where the verifier takes it for a pointer: a program
/// may compute with the one, and pass it on, and not always with the other.
#[inline(always)]
pub fn number(address: u64) -> u64 {
    copied((&raw const address) as u64, 0)
}
