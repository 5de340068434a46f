//! Programs that use `io_uring`: who makes a ring, and who does networking by one.

use aya_ebpf::bindings::BPF_NOEXIST;
use socketvirt_common::{
    reason::Reason,
    record::{
        layout::KernelLayout,
        reader::{MADE_RING, Rings},
    },
    rule::ring::{self, FIXED_FILE, Kind},
};

use super::reader;
use crate::{
    count::next,
    kernel::load::{offset, read},
    maps::{sv_processes, sv_rings, sv_wake},
};

/// Handles a process that has made an `io_uring` with these flags. The agent looks
/// at it again, if it is one that reads.
#[inline(always)]
pub fn made(flags: u32) {
    let (_, own) = reader::current();
    if let Some(rings) = of(own) {
        next(&raw mut rings.made);
        if flags & ring::HIDDEN != 0 {
            rings.hidden = 1;
        }
    }
    if let Some(process) = sv_processes.get_ptr_mut(&own) {
        // SAFETY: an entry of a preallocated map; when the agent writes it at this
        // moment, it finds that the rings have changed.
        unsafe { (*process).again = MADE_RING };
        let _ = sv_wake.output(&own, 0);
    }
}

/// Handles a request that was submitted: in the call of its program, or in the
/// thread of its process that polls the ring (`IORING_SETUP_SQPOLL`). Its
/// descriptor is one of that process in either.
#[inline(always)]
pub fn submitted(request: *const u8) {
    let operation = request.wrapping_add(offset!(request_operation) as usize);
    // SAFETY: the verifier knows the argument as a `struct io_kiocb`, and checks
    // offset and size.
    let operation: u8 = unsafe { core::ptr::read_volatile(operation) };
    let kind = ring::kind(operation);
    if matches!(kind, Kind::Harmless) {
        return;
    }
    let (task, own) = reader::current();
    if matches!(kind, Kind::Descriptor) && !takes_socket(request, task) {
        return;
    }
    let Some(rings) = of(own) else { return };
    if rings.network != 0 {
        return;
    }
    rings.network = 1;
    if let Some(process) = sv_processes.get_ptr_mut(&own) {
        // SAFETY: as above.
        unsafe { (*process).reason = Reason::Ring };
    }
    // The next sweep comes soon.
    let _ = sv_wake.output(&own, 0);
}

/// True when a process was seen doing networking by a ring.
#[inline(always)]
pub fn networks(name: u64) -> bool {
    let rings = sv_rings.get_ptr(&name);
    // SAFETY: an entry of a preallocated map, whose words are written one by one.
    rings.is_some_and(|rings| unsafe { (*rings).network != 0 })
}

/// True when a request reads or writes a socket.
#[inline(always)]
fn takes_socket(request: *const u8, task: u64) -> bool {
    let flags = request.wrapping_add(offset!(request_flags) as usize);
    let fd = request.wrapping_add(offset!(request_fd) as usize);
    // SAFETY: as above.
    let (flags, fd): (u32, u32) = unsafe {
        (
            core::ptr::read_volatile(flags.cast()),
            core::ptr::read_volatile(fd.cast()),
        )
    };
    if flags & FIXED_FILE != 0 {
        return registered(request, fd);
    }
    let files: u64 = read(task, offset!(task_files));
    let table: u64 = read(files, offset!(files_table));
    if fd >= read(table, offset!(table_size)) {
        return false;
    }
    let array: u64 = read(table, offset!(table_files));
    reader::is_socket(read(array + u64::from(fd) * 8, 0))
}

/// True when a registered file is a socket, or the kernel does not tell what it is.
#[inline(always)]
fn registered(request: *const u8, index: u32) -> bool {
    if offset!(ring_files) == KernelLayout::MISSING || offset!(node_file) == KernelLayout::MISSING {
        return true;
    }
    let ring = request.wrapping_add(offset!(request_ring) as usize);
    // SAFETY: as above.
    let ring: u64 = unsafe { core::ptr::read_volatile(ring.cast()) };
    let files: u64 = read(ring, offset!(ring_files));
    let node: u64 = read(files + u64::from(index) * 8, 0);
    let file: u64 = read(node, offset!(node_file));
    reader::is_socket(file & !7)
}

/// Returns the record of a process's rings, which is made when there is none.
#[inline(always)]
fn of(own: u64) -> Option<&'static mut Rings> {
    if sv_rings.get_ptr(&own).is_none() {
        let none = Rings {
            made: 0,
            network: 0,
            hidden: 0,
        };
        // Two may come at once.
        let _ = sv_rings.insert(&own, &none, u64::from(BPF_NOEXIST));
    }
    let rings = sv_rings.get_ptr_mut(&own)?;
    // SAFETY: an entry of a preallocated map, whose words are written one by one.
    Some(unsafe { &mut *rings })
}
