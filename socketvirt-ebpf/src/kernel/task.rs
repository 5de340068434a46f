//! The system call that a task is in: the running one, or one that waits.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use socketvirt_common::{
    record::layout::Calls,
    rule::call::{self, Flags, Kind},
};

use super::load::{number, offset, read};

/// Those that a question is not about.
const NO_CALLS: Calls = Calls {
    sendto: 0,
    sendmsg: 0,
    sendmmsg: 0,
    recvfrom: 0,
    recvmsg: 0,
    recvmmsg: 0,
    splice: 0,
    write: 0,
    writev: 0,
    ioctl: 0,
};

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
        ..NO_CALLS
    };
    registers.flags(call::flags(registers.load(offset!(call_number)), &calls))
}

/// A call that reads a socket.
#[derive(Clone, Copy)]
pub enum Reading {
    /// splice(2).
    Splice,
    /// Another, with its flags; 0 when they are not known.
    Receive(u32),
}

/// Returns how the program reads the socket that it is reading.
#[inline(always)]
pub fn reading() -> Reading {
    let Some(registers) = Registers::own() else {
        return Reading::Receive(0);
    };
    let number = registers.load(offset!(call_number));
    if number == offset!(calls.splice) {
        return Reading::Splice;
    }
    let calls = Calls {
        recvfrom: offset!(calls.recvfrom),
        recvmsg: offset!(calls.recvmsg),
        recvmmsg: offset!(calls.recvmmsg),
        ..NO_CALLS
    };
    Reading::Receive(registers.flags(call::received(number, &calls)))
}

/// The tasks of the host, beside the running one.
///
/// The kernel keeps the registers of each at the same place above the lowest byte of its
/// stack.
#[derive(Clone, Copy)]
pub struct Tasks {
    /// The group leader of the running task, which is the agent's.
    own: u64,
    /// From the lowest byte of a stack to the registers; none when it is not known where
    /// in them a call is told.
    registers: Option<u64>,
}

impl Tasks {
    /// Finds the place by the running task, for which a helper tells it.
    #[inline(always)]
    pub fn here() -> Self {
        // SAFETY: takes nothing.
        let task = unsafe { bpf_get_current_task() };
        let registers = Registers::own()
            .map(|own| number(own.0 as u64).wrapping_sub(read(task, offset!(task_stack))));
        Self {
            own: read(task, offset!(task_leader)),
            registers,
        }
    }

    /// Returns the kind of the system call that a task is in, by the address of its
    /// `struct task_struct`; none when it is the agent's own. It has to stay in it
    /// meanwhile.
    #[inline(always)]
    pub fn kind_of_call(self, task: u64) -> Option<Kind> {
        if read::<u64>(task, offset!(task_leader)) == self.own {
            return None;
        }
        let Some(registers) = self.registers else {
            return Some(Kind::Receives);
        };
        let stack: u64 = read(task, offset!(task_stack));
        let call: u32 = read(stack.wrapping_add(registers), offset!(call_number));
        let calls = Calls {
            sendto: offset!(calls.sendto),
            sendmsg: offset!(calls.sendmsg),
            sendmmsg: offset!(calls.sendmmsg),
            write: offset!(calls.write),
            writev: offset!(calls.writev),
            ioctl: offset!(calls.ioctl),
            ..NO_CALLS
        };
        Some(call::kind(call, &calls))
    }
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

    /// Loads the argument that holds flags.
    #[inline(always)]
    fn flags(self, at: Flags) -> u32 {
        match at {
            Flags::None => 0,
            Flags::Third => self.load(offset!(call_third)),
            Flags::Fourth => self.load(offset!(call_fourth)),
        }
    }

    /// Loads the low half of a register.
    #[inline(always)]
    fn load(self, offset: u32) -> u32 {
        // SAFETY: the verifier checks pointer and offset.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }
}
