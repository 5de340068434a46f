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
    use aya::maps::{Array, MapData};

    use super::*;

    #[test]
    fn one_that_is_made_is_noticed() {
        let mut made = Made::from_now_on();
        let _map = Array::<MapData, u32>::create(1, 0).unwrap();
        assert!(made.any());
    }
}
