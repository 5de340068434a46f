//! Who is at the other end of a Unix socket, as the kernel knows it.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Groups that are read of a peer, at most.
const GROUPS: usize = 65_536;

/// The credentials that a peer had when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group, and its supplementary ones.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Reads those of a connected socket.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let known = getsockopt(&socket, PeerCredentials)?;
        let mut groups = supplementary(socket)?;
        groups.push(known.gid());
        Ok(Self {
            uid: known.uid(),
            groups,
        })
    }
}

/// `SO_PEERGROUPS`, which nix does not have.
fn supplementary(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut length = libc::socklen_t::try_from(groups.len() * 4).unwrap_or(0);
        // SAFETY: the kernel writes at most `length` bytes, which `groups` has, and
        // the length of what it has.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = length as usize / 4;
        if answer == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // There are more, and `length` says how many.
        if error.raw_os_error() != Some(libc::ERANGE) || needed > GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixStream};

    use nix::unistd::{getegid, geteuid, getgroups};

    use super::*;

    #[test]
    fn a_peer_is_known() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(one.as_fd()).unwrap();
        assert_eq!(peer.uid, geteuid().as_raw());
        let mut groups: Vec<u32> = getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        groups.push(getegid().as_raw());
        assert_eq!(peer.groups, groups);
    }
}
