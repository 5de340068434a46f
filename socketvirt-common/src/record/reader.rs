//! Readers: the processes that receive from watched sockets.
//!
//! A socket may be enrolled or not, depending on the program that reads it
//! ([`crate::rule::habit`], splice(2), `io_uring`). Where it reads, the kernel side
//! records who it is. The agent then inspects its executable and libraries,
//! once for each process. A process that was not inspected is not harmless.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::reason::Reason;

/// Processes that are known at once.
pub const PROCESSES: u32 = 8_192;

/// Names a process by its number in the outermost pid namespace and by when it
/// began. A number that is used again names another process.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits tell two processes of one number apart"
)]
pub const fn name(tgid: u32, began: u64) -> u64 {
    // About a millisecond; a number comes back after thousands of forks.
    (tgid as u64) << 32 | (began >> 20) as u32 as u64
}

/// The record of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub struct Process {
    /// Address of its memory (`struct mm_struct`), 0 for a thread of the
    /// kernel.
    pub memory: u64,
    /// Pages of code that it had mapped when it was inspected. Another number
    /// shows that it has loaded something since.
    pub code: u64,
    /// The inode of its executable, 0 until the agent has looked.
    pub inode: u64,
    /// Tells that file from others with the same inode: on another device, or
    /// before or after it was changed.
    pub version: u64,
    /// Its number in the agent's pid namespace; 0 when it is not in there.
    pub pid: u32,
    /// The reason for which its sockets stay on the stack: [`Reason::None`] for
    /// a harmless one, [`Reason::NotInspected`] until the agent has inspected.
    pub reason: Reason,
    /// Not 0 when the agent shall look again, though the reason stands:
    /// [`LOADED`] or [`MADE_RING`].
    pub again: u32,
    /// What its rings have shown to the agent: 0, [`FILES`] or [`NETWORK`].
    pub ringed: u32,
    /// 1 when it can call splice(2). `reason` then is what else keeps its sockets on
    /// the stack.
    pub splices: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

/// It is harmless as long as what it submits to its rings is watched.
pub const FILES: u32 = 1;
/// It has done networking by a ring.
pub const NETWORK: u32 = 2;

/// It has mapped other code.
pub const LOADED: u32 = 1;
/// It has made an `io_uring`: no more of its sockets are enrolled before the agent
/// has looked.
pub const MADE_RING: u32 = 2;

/// The rings of a process, as the kernel side has seen them. It alone writes this.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Rings {
    /// Number of rings that it has made.
    pub made: u64,
    /// 1 when it has done networking by one of them, while that was watched.
    pub network: u32,
    /// 1 when the entries of one are not where they are looked for, see
    /// [`HIDDEN`](crate::rule::ring::HIDDEN).
    pub hidden: u32,
}

/// A watched socket in the hands of a process, as the walk over all files tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Holding {
    /// The process, see [`name`].
    pub holder: u64,
    /// The pair's place, doubled, and 1 more for the server's end.
    pub end: u32,
    /// References to the file when it was asked for.
    pub references: u32,
}

/// True when every holder of a socket's file is known.
///
/// A file with one reference is in the hands of its reader alone. A file with
/// more was looked up when it had `known` of them.
#[inline(always)]
#[must_use]
pub const fn holders_known(references: u64, known: u32) -> bool {
    references <= 1 || references <= known as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_names_another_process() {
        let second = 1_000_000_000;
        assert_ne!(name(7, second), name(7, 2 * second));
        assert_ne!(name(7, second), name(8, second));
        assert_eq!(name(7, second), name(7, second));
    }

    #[test]
    fn more_references_than_were_looked_up_are_unknown_holders() {
        assert!(holders_known(1, 0));
        assert!(!holders_known(2, 0));
        assert!(holders_known(2, 2));
        assert!(!holders_known(3, 2));
    }
}
