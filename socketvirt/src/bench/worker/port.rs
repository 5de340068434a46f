//! One end of a measured connection: the same calls for every variant.

use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{MsgFlags, Shutdown, recv, send, shutdown},
    },
};

use crate::bench::{
    error::Error,
    wire::{Calls, Family},
};

/// Where `tcpi_bytes_sent` lies in `struct tcp_info` (Linux 4.19); the layout
/// is kernel interface and only grows at its end.
const BYTES_SENT: usize = 200;

/// A connected socket, and how to wait on it.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    family: Family,
    epoll: Option<Epoll>,
}

impl Port {
    /// Takes a connected socket.
    pub fn new(socket: OwnedFd, family: Family, calls: Calls) -> Result<Self, Error> {
        let epoll = match calls {
            Calls::Blocking => None,
            Calls::Epoll => {
                fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                    .map_err(Error::call("fcntl"))?;
                let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
                    .map_err(Error::call("epoll_create1"))?;
                epoll
                    .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                    .map_err(Error::call("epoll_ctl"))?;
                Some(epoll)
            }
        };
        Ok(Self {
            socket,
            family,
            epoll,
        })
    }

    /// Sends all of a message.
    pub fn send_all(&self, mut message: &[u8]) -> Result<(), Error> {
        loop {
            match send(self.socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) if sent == message.len() => return Ok(()),
                Ok(sent) => message = message.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) if self.epoll.is_some() => self.wait_writable()?,
                Err(errno) => {
                    return Err(Error::Call {
                        call: "send",
                        errno,
                    });
                }
            }
        }
    }

    /// Waits for bytes and takes what fits; 0 is the end of the stream.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if let Some(epoll) = &self.epoll {
                wait(epoll)?;
            }
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(received) => return Ok(received),
                Err(Errno::EAGAIN) if self.epoll.is_some() => {}
                // A blocking recv() has no business answering EAGAIN: report it.
                Err(errno) => {
                    return Err(Error::Call {
                        call: "recv",
                        errno,
                    });
                }
            }
        }
    }

    /// Says that no more will be sent.
    pub fn finish(&self) -> Result<(), Error> {
        shutdown(self.socket.as_raw_fd(), Shutdown::Write).map_err(Error::call("shutdown"))
    }

    /// Fills the buffer.
    pub fn receive_exact(&self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.receive(rest)? {
                0 => return Err(Error::Ended("the connection", String::new())),
                received => filled += received,
            }
        }
        Ok(())
    }

    /// Bytes that TCP sent since the connection began.
    pub fn stack_bytes(&self) -> Option<u64> {
        if self.family == Family::Unix {
            return None;
        }
        stack_bytes(self.socket.as_raw_fd())
    }

    fn wait_writable(&self) -> Result<(), Error> {
        let Some(epoll) = &self.epoll else {
            return Ok(());
        };
        for interest in [EpollFlags::EPOLLOUT, EpollFlags::EPOLLIN] {
            epoll
                .modify(&self.socket, &mut EpollEvent::new(interest, 0))
                .map_err(Error::call("epoll_ctl"))?;
            if interest == EpollFlags::EPOLLOUT {
                wait(epoll)?;
            }
        }
        Ok(())
    }
}

fn wait(epoll: &Epoll) -> Result<(), Error> {
    let mut events = [EpollEvent::empty()];
    epoll
        .wait(&mut events, EpollTimeout::NONE)
        .map(drop)
        .map_err(Error::call("epoll_wait"))
}

/// Bytes that the TCP of a socket sent since its connection began.
pub fn stack_bytes(socket: RawFd) -> Option<u64> {
    let mut info = [0_u8; 256];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    // SAFETY: `info` has `length` bytes and the kernel writes at most that.
    let answer = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let field = info.get(BYTES_SENT..BYTES_SENT + 8)?;
    let reached = usize::try_from(length).ok()? >= BYTES_SENT + 8;
    (answer == 0 && reached).then_some(())?;
    Some(u64::from_ne_bytes(field.try_into().ok()?))
}
