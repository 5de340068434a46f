//! The program that is making a call, as its task tells.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use socketvirt_common::send::{self, Call};

use crate::kernel::{Sock, offset, read};

/// The socket behind a descriptor of the calling program.
#[inline(always)]
pub fn socket_of(fd: u64) -> Option<Sock> {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files));
    let table: u64 = read(files, offset!(files_table));
    let array: u64 = read(table, offset!(table_files));
    let file: u64 = read(array + u64::from(fd as u32) * 8, 0);
    let socket: u64 = read(file, offset!(file_private));
    // What another kind of file keeps there does not point back to it.
    if file == 0 || read::<u64>(socket, offset!(socket_file)) != file {
        return None;
    }
    Some(Sock(read(socket, offset!(socket_sk))))
}

/// The flags of the send that a message belongs to; 0 when they are not known.
#[inline(always)]
pub fn send_flags() -> u32 {
    if offset!(call_number) == 0 {
        return 0;
    }
    // SAFETY: takes nothing; what it returns is what the other helper takes,
    // and is never null in a system call. A thread of the kernel has registers
    // too, all 0.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8;
    let load = |offset: u32| -> u32 {
        // SAFETY: the verifier checks pointer and offset.
        unsafe { core::ptr::read_volatile(regs.add(offset as usize).cast()) }
    };
    let call = Call {
        number: load(offset!(call_number)),
        third: load(offset!(call_third)),
        fourth: load(offset!(call_fourth)),
    };
    send::flags(&call, &offset!(calls))
}
