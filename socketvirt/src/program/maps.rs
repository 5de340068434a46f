//! Maps that are made while the agent works. One of them may be a map of
//! sockets, made by a program whose sockets are adopted already.

use crate::bpf::sys;

/// Notices that maps were made, whoever has made them.
///
/// A map is not asked for its kind: to open one can keep it alive for ever, when its
/// last user goes at that moment.
#[derive(Debug)]
pub struct Made {
    /// The newest id. The kernel gives larger ones to newer maps
    /// (`idr_alloc_cyclic`), and begins anew after two thousand million.
    newest: u32,
}

impl Made {
    /// Those that there are count as known.
    #[must_use]
    pub fn from_now_on() -> Self {
        let mut made = Self { newest: 0 };
        made.any();
        made
    }

    /// True when a map was made since the last call and is there still. False
    /// where the kernel does not tell (it takes `CAP_SYS_ADMIN`).
    pub fn any(&mut self) -> bool {
        let before = self.newest;
        while let Some(next) = sys::map_after(self.newest) {
            self.newest = next;
        }
        self.newest != before
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use super::*;

    #[test]
    fn one_that_is_made_is_noticed() {
        let mut made = Made::from_now_on();
        // Type array, key and value of 4 bytes, one entry.
        let attributes = [2_u32, 4, 4, 1];
        // SAFETY: `BPF_MAP_CREATE`, with attributes that live during the call.
        let fd = unsafe {
            let size = size_of_val(&attributes);
            libc::syscall(libc::SYS_bpf, 0, &raw const attributes, size)
        };
        // SAFETY: a descriptor that nobody else has.
        let _map = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) };
        assert!(made.any());
    }
}
