//! The system call that a program is in, as its task tells.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use socketvirt_common::{
    record::layout::Calls,
    rule::call::{self, Flags},
};

use super::load::offset;

/// Returns the flags of the send that a message belongs to; 0 when they are not
/// known.
#[inline(always)]
pub fn send_flags() -> u32 {
    let Some(registers) = Registers::own() else {
        return 0;
    };
    let calls = Calls {
        sendto: offset!(calls.sendto),
        sendmsg: offset!(calls.sendmsg),
        sendmmsg: offset!(calls.sendmmsg),
        splice: 0,
    };
    match call::flags(registers.load(offset!(call_number)), &calls) {
        Flags::None => 0,
        Flags::Third => registers.load(offset!(call_third)),
        Flags::Fourth => registers.load(offset!(call_fourth)),
    }
}

/// True when the program is known to be in splice(2).
#[inline(always)]
pub fn splices() -> bool {
    Registers::own()
        .is_some_and(|registers| registers.load(offset!(call_number)) == offset!(calls.splice))
}

/// The program's registers, as the kernel has kept them.
#[derive(Clone, Copy)]
struct Registers(*const u8);

impl Registers {
    /// Returns the registers; none when it is not known where in them a call is
    /// told.
    #[inline(always)]
    fn own() -> Option<Self> {
        if offset!(call_number) == 0 {
            return None;
        }
        // SAFETY: takes nothing; what it returns is what the other helper takes,
        // and is never null in a system call. A thread of the kernel has
        // registers too, all 0.
        let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
        Some(Self((registers as *const u8).cast()))
    }

    /// Loads the low half of a register.
    #[inline(always)]
    fn load(self, offset: u32) -> u32 {
        // SAFETY: the verifier checks pointer and offset.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }
}
