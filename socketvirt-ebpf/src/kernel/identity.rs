//! The identity of a socket: its addresses, and whose it is.

use socketvirt_common::uapi::AF_INET;

use super::{
    load::{offset, read},
    sock::Sock,
};

impl Sock {
    /// The own address in network byte order; IPv4 is mapped to IPv6 (RFC 4291,
    /// 2.5.5.2). A request, which begins as a socket does, has it too.
    #[inline(always)]
    pub fn own_address(self) -> [u32; 4] {
        if self.is_v4() {
            mapped(read(self.0, offset!(sk_saddr)))
        } else {
            self.v6(offset!(sk_saddr6))
        }
    }

    /// The peer's address, as the socket knows it.
    #[inline(always)]
    pub fn peer_address(self) -> [u32; 4] {
        if self.is_v4() {
            mapped(read(self.0, offset!(sk_daddr)))
        } else {
            self.v6(offset!(sk_daddr6))
        }
    }

    #[inline(always)]
    fn is_v4(self) -> bool {
        read::<u16>(self.0, offset!(sk_family)) == AF_INET
    }

    #[inline(always)]
    fn v6(self, at: u32) -> [u32; 4] {
        [
            read(self.0, at),
            read(self.0, at + 4),
            read(self.0, at + 8),
            read(self.0, at + 12),
        ]
    }

    /// `sk_uid`: the user who has made the socket, in the outermost user
    /// namespace.
    #[inline(always)]
    pub fn uid(self) -> u32 {
        read(self.0, offset!(sk_uid))
    }

    /// Returns the group of who has made the socket. One that was not accepted
    /// yet has none.
    #[inline(always)]
    pub fn gid(self) -> Option<u32> {
        let socket: u64 = read(self.0, offset!(sk_socket));
        (socket != 0).then(|| read(socket, offset!(socket_gid)))
    }
}

#[inline(always)]
fn mapped(address: u32) -> [u32; 4] {
    [0, 0, 0xffff_u32.to_be(), address]
}
