//! The system call that a program is in, as its task tells.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use socketvirt_common::call::{self, Call};

use crate::kernel::{offset, read};

/// The flags of the send that a message belongs to; 0 when they are not known.
#[inline(always)]
pub fn send_flags() -> u32 {
    Registers::own().map_or(0, |registers| {
        let call = Call {
            number: registers.load(offset!(call_number)),
            third: registers.load(offset!(call_third)),
            fourth: registers.load(offset!(call_fourth)),
        };
        call::flags(&call, &offset!(calls))
    })
}

/// `PF_IO_WORKER`, include/linux/sched.h.
const PF_IO_WORKER: u32 = 0x10;

/// The program is known to be in splice(2), or a worker of `io_uring` reads for
/// it: that is a splice too, or a receive that shall sleep
/// (`IOSQE_ASYNC`).
#[inline(always)]
pub fn splices() -> bool {
    let Some(registers) = Registers::own() else {
        return false;
    };
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    registers.load(offset!(call_number)) == offset!(calls).splice
        || read::<u32>(task, offset!(task_flags)) & PF_IO_WORKER != 0
}

/// What the kernel has kept of the program's registers.
#[derive(Clone, Copy)]
struct Registers(*const u8);

impl Registers {
    /// None when it is not known where in them a call is told.
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

    /// The low half of a register.
    #[inline(always)]
    fn load(self, offset: u32) -> u32 {
        // SAFETY: the verifier checks pointer and offset.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }
}
