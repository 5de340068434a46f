//! The facts of a connection that rules ask for, as one end knows them.

use aya_ebpf::programs::RawTracePointContext;
use socketvirt_common::{
    record::{
        pair::Side,
        policy::{Active, Dimension},
    },
    rule::policy::mark,
};

use crate::{kernel::sock::Sock, maps::sv_processes};

/// An executable, by inode and version.
#[derive(Clone, Copy, Default)]
pub struct Executable {
    /// 0 while it is not known.
    pub inode: u64,
    /// See `Process::version`.
    pub version: u64,
    /// A process that runs it, by its number in the agent's namespace.
    pub pid: u32,
}

/// The answers to what rules ask.
pub trait Facts: Copy {
    /// The ports of server and client, host byte order.
    fn ports(self) -> (u16, u16);
    /// The server's address, network byte order, mapped to IPv6.
    fn server(self) -> [u32; 4];
    /// The client's address.
    fn client(self) -> [u32; 4];
    /// The id of the end's cgroup.
    fn cgroup(self) -> u64;
    /// The number of its network namespace.
    fn netns(self) -> u32;
    /// Its user.
    fn uid(self) -> u32;
    /// Its group, once it is known.
    fn gid(self) -> Option<u32>;
    /// What reads it.
    fn executable(self) -> Executable;
}

/// An end that the kernel knows.
#[derive(Clone, Copy)]
pub struct End {
    /// Who has the addresses: the socket, or the request for it.
    pub named: Sock,
    /// Who has all else: the socket, or its listener.
    pub sock: Sock,
    /// The end that it is.
    pub side: Side,
    /// The name of the process that reads it, 0 before.
    pub reader: u64,
}

impl Facts for End {
    #[inline(always)]
    fn ports(self) -> (u16, u16) {
        let (own, peer) = self.named.ports();
        match self.side {
            Side::Client => (peer, own),
            Side::Server => (own, peer),
        }
    }

    #[inline(always)]
    fn server(self) -> [u32; 4] {
        match self.side {
            Side::Client => self.named.peer_address(),
            Side::Server => self.named.own_address(),
        }
    }

    #[inline(always)]
    fn client(self) -> [u32; 4] {
        match self.side {
            Side::Client => self.named.own_address(),
            Side::Server => self.named.peer_address(),
        }
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        self.sock.cgroup()
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        self.sock.netns()
    }

    #[inline(always)]
    fn uid(self) -> u32 {
        self.sock.uid()
    }

    #[inline(always)]
    fn gid(self) -> Option<u32> {
        self.sock.gid()
    }

    #[inline(always)]
    fn executable(self) -> Executable {
        executable_of(self.reader)
    }
}

/// Returns what a process runs, if the agent has looked at it.
#[inline(always)]
fn executable_of(reader: u64) -> Executable {
    let Some(process) = sv_processes.get_ptr(&reader) else {
        return Executable::default();
    };
    // SAFETY: an entry of a preallocated map; a torn one has another mark soon.
    let process = unsafe { &*process };
    Executable {
        inode: process.inode,
        version: process.version,
        pid: process.pid,
    }
}

/// Returns the mark of an end, see [`mark`]. It is of what the rules ask for
/// alone.
#[inline(always)]
pub fn mark_of(active: Active, sock: Sock, reader: u64) -> u32 {
    let inode = if active.uses(Dimension::Executable) {
        executable_of(reader).inode
    } else {
        0
    };
    let uid = if active.uses(Dimension::Uid) {
        sock.uid()
    } else {
        0
    };
    let gid = if active.uses(Dimension::Gid) {
        sock.gid()
    } else {
        None
    };
    mark(inode, uid, gid)
}

/// A connection that the caller of a test run tells.
#[derive(Clone, Copy)]
pub struct Told<'a>(pub &'a RawTracePointContext);

impl Told<'_> {
    #[inline(always)]
    fn word(self, index: usize) -> u64 {
        self.0.arg(index)
    }
}

/// Returns the address that two words hold.
#[inline(always)]
const fn address(first: u64, second: u64) -> [u32; 4] {
    [
        first as u32,
        (first >> 32) as u32,
        second as u32,
        (second >> 32) as u32,
    ]
}

impl Facts for Told<'_> {
    #[inline(always)]
    fn ports(self) -> (u16, u16) {
        let both = self.word(4);
        (both as u16, (both >> 16) as u16)
    }

    #[inline(always)]
    fn server(self) -> [u32; 4] {
        address(self.word(0), self.word(1))
    }

    #[inline(always)]
    fn client(self) -> [u32; 4] {
        address(self.word(2), self.word(3))
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        self.word(5)
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        self.word(6) as u32
    }

    #[inline(always)]
    fn uid(self) -> u32 {
        (self.word(6) >> 32) as u32
    }

    #[inline(always)]
    fn gid(self) -> Option<u32> {
        let known = self.word(7) >> 32 != 0;
        known.then_some(self.word(7) as u32)
    }

    #[inline(always)]
    fn executable(self) -> Executable {
        Executable {
            inode: self.word(8),
            version: self.word(9),
            pid: self.word(10) as u32,
        }
    }
}
