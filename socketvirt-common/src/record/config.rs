//! Switches that the agent sets while the programs run.

use zerocopy::{FromZeros, Immutable, IntoBytes};

/// The time that a pair stays on the stack after its first release, in
/// nanoseconds.
pub const FIRST_PAUSE: u64 = 500_000_000;

/// The moment at which sockets are enrolled.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Mode {
    /// Never: the sockets are watched, nothing is redirected.
    #[default]
    Off = 0,
    /// In mid-life, by a visit, after a pair has proved suitable.
    Adopt = 1,
    /// At the handshake, without proof; what misses it is adopted.
    Eager = 2,
}

/// The way in which an enrolled socket receives.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum ReceiveMode {
    /// Not at all: no mode of this kernel passed the self-test.
    #[default]
    TableOnly = 0,
    /// Redirected bytes have a queue of their own.
    TxOnly = 1,
    /// Bytes of the stack join the redirected ones in one queue.
    Unified = 2,
}

/// The single entry of `sv_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
pub struct Config {
    /// The cgroup whose sockets, and those of cgroups below it, are followed: the
    /// inode number of its folder.
    pub cgroup: u64,
    /// The time that a pair stays on the stack after its first release, in
    /// nanoseconds: see [`crate::rule::release::pause`].
    pub first_pause: u64,
    /// The tick of the kernel until which an agent watches, as far as is known; 0 before
    /// one ever has. The kernel side writes it ([`crate::record::watch::Run::Beat`]).
    pub watched_until: u64,
    /// The moment at which sockets are enrolled.
    pub mode: Mode,
    /// The way in which enrolled sockets receive.
    pub receive_mode: ReceiveMode,
    /// 1 while everything shall be released.
    pub draining: u32,
    /// 1 while TCP is under memory pressure: redirect nothing new, so that no
    /// redirect fails with `ENOMEM`.
    pub memory_pressure: u32,
    /// What is vouched for of every program, whatever the policy says: bits, see
    /// [`NO_SPLICE`](super::policy::NO_SPLICE).
    pub assume: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cgroup: 0,
            first_pause: FIRST_PAUSE,
            watched_until: 0,
            mode: Mode::Off,
            receive_mode: ReceiveMode::TableOnly,
            draining: 0,
            memory_pressure: 0,
            assume: 0,
            reserved: 0,
        }
    }
}
