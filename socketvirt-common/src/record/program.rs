//! Programs, as far as a socket tells them.

use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::pair::Side;

/// Stands for a program.
///
/// The kernel does not record which executable a socket belongs to, and a look
/// runs as the agent. A socket tells three things at every moment: its cgroup,
/// the port of the service, and whether it offers or uses that service.
/// Programs that share all three share the habit. The agent finds the
/// executable, for other cgroups.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromZeros, Immutable, IntoBytes)]
pub struct Program {
    /// The cgroup in which the socket was made: the inode number of its
    /// folder.
    pub cgroup: u64,
    /// The server's port, host byte order; 0 with [`Program::any_of`].
    pub port: u32,
    /// The client of that service, or the server that offers it.
    pub side: Side,
}

impl Program {
    /// The program of a socket with these ports, host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn new(cgroup: u64, local_port: u16, remote_port: u16, side: Side) -> Self {
        Self {
            cgroup,
            port: match side {
                Side::Client => remote_port as u32,
                Side::Server => local_port as u32,
            },
            side,
        }
    }

    /// All programs of a cgroup, whatever their service.
    #[inline(always)]
    #[must_use]
    pub const fn any_of(cgroup: u64) -> Self {
        Self {
            cgroup,
            port: 0,
            side: Side::Client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_the_server_port() {
        let client = Program::new(1, 40_000, 80, Side::Client);
        let server = Program::new(1, 80, 40_000, Side::Server);
        assert_eq!((client.port, server.port), (80, 80));
        assert_ne!(client, server);
        assert_eq!(client, Program::new(1, 40_001, 80, Side::Client));
        assert_ne!(client, Program::new(2, 40_000, 80, Side::Client));
    }
}
