//! Gifts of a service manager to the process that it starts, and what of them
//! the operator has to know because that process is ours.

use std::{env, fs, os::fd::BorrowedFd};

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt, sockopt,
};

/// Returns notices for the operator, to be told before the command is started.
#[must_use]
pub fn notices() -> Vec<String> {
    let mut notices = Vec::new();
    let listeners = inherited_listeners();
    if listeners > 0 {
        notices.push(format!(
            "inherited TCP listeners: {listeners}; a connection that they accept stays on plain TCP, \
             because its socket belongs to the cgroup in which the listener was made"
        ));
    }
    if env::var_os("NOTIFY_SOCKET").is_some() {
        notices.push(
            "NOTIFY_SOCKET is set; the command's messages (READY=1, WATCHDOG=1, FDSTORE=1) come from a \
             process that is not the unit's main one: the unit needs NotifyAccess=all"
                .into(),
        );
    }
    notices
}

/// Counts the descriptors of this process that are listening TCP sockets.
fn inherited_listeners() -> usize {
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| listens(*fd))
        .count()
}

fn listens(fd: i32) -> bool {
    let family = getsockname::<SockaddrStorage>(fd)
        .ok()
        .and_then(|own| own.family());
    // SAFETY: the call only asks; what is no open socket is an error.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6))
        && getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream)
        && getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::{fd::AsRawFd as _, unix::net::UnixListener},
    };

    use super::*;

    #[test]
    fn tcp_listeners_are_told_from_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = env::temp_dir().join(format!("socketvirt-l-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(listens(listener.as_raw_fd()));
        assert!(inherited_listeners() >= 1);
        for other in [
            client.as_raw_fd(),
            udp.as_raw_fd(),
            unix.as_raw_fd(),
            99_999,
        ] {
            assert!(!listens(other), "{other}");
        }
    }
}
