//! Two connections that nothing but their packets tells apart: the same
//! addresses and the same sequence numbers in two namespaces.
//!
//! It happens by itself when both begin at the same moment, as initial
//! sequence numbers are a hash of the addresses plus a clock; here the numbers
//! are chosen, by `TCP_REPAIR` (tcp(7); needs `CAP_NET_ADMIN`).

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{MsgFlags, SockaddrStorage, bind, connect, recv, send, setsockopt, sockopt};
use test_support::{
    cgroup::{self, PROCESSES},
    random::mix,
};

use super::{args::Twins, watchdog};
use crate::{gate, net};

/// The sequence number of the client's first byte, and of the server's.
const FIRST: [i32; 2] = [1_000_001, 5_000_001];
const PORTS: [u16; 2] = [20_000, 7000];
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// `TCP_RECV_QUEUE` and `TCP_SEND_QUEUE`, include/uapi/linux/tcp.h.
const RECV_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;

/// A process that is there, until this is dropped.
struct Present(Child);

impl Present {
    fn start() -> Result<Self> {
        let mut command = Command::new("cat");
        let child = command.stdin(Stdio::piped()).spawn().context("cat")?;
        Ok(Self(child))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Both ends of one of the connections.
struct Connection {
    ends: [OwnedFd; 2],
    seed: u64,
}

pub(crate) fn run(args: &Twins, deadline: u64) -> Result<()> {
    watchdog::start("twins", deadline);
    let mut connections = Vec::new();
    let mut present = Vec::new();
    for (index, name) in [&args.first, &args.second].into_iter().enumerate() {
        net::enter(Some(name))?;
        // An agent finds a namespace by a process that is in it.
        present.push(Present::start()?);
        // The client of the one and the server of the other are left.
        let mut ends = Vec::new();
        for side in [CLIENT, SERVER] {
            let outside = args.halves && (index == 0) == (side == SERVER);
            ends.push(if outside {
                in_cgroup("", || repaired(side))?
            } else {
                repaired(side)?
            });
        }
        let ends = <[OwnedFd; 2]>::try_from(ends)
            .ok()
            .context("a connection has two ends")?;
        for fd in &ends {
            net::set_int(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, 0).context("end of repair")?;
        }
        connections.push(Connection {
            ends,
            seed: mix(index as u64),
        });
    }
    let start = Instant::now();
    let pace = Duration::from_secs(1) / args.rate.max(1);
    let mut round = 0;
    let mut more = args.more;
    while !gate::may_go() || more > 0 {
        if gate::may_go() {
            more -= 1;
        }
        for from in [CLIENT, SERVER] {
            // Both send before either reads: a message that has gone to the
            // wrong one is there when that one reads.
            for connection in &connections {
                connection.send(from, round)?;
            }
            for connection in &connections {
                connection.receive(1 - from, round)?;
            }
        }
        round += 1;
        if let Some(left) = (pace * round).checked_sub(start.elapsed()) {
            thread::sleep(left);
        }
    }
    Ok(())
}

impl Connection {
    fn message(&self, from: usize, round: u32) -> [u8; 8] {
        mix(self.seed ^ (u64::from(round) << 1 | from as u64)).to_le_bytes()
    }

    fn send(&self, from: usize, round: u32) -> Result<()> {
        let message = self.message(from, round);
        let fd = &self.ends[from];
        net::wait(fd.as_fd(), libc::POLLOUT, u16::MAX)?;
        let sent = send(fd.as_raw_fd(), &message, MsgFlags::empty()).context("send")?;
        ensure!(sent == message.len(), "{sent} bytes of a message were sent");
        Ok(())
    }

    fn receive(&self, to: usize, round: u32) -> Result<()> {
        let wanted = self.message(1 - to, round);
        let fd = &self.ends[to];
        let mut got = [0; 8];
        let mut filled = 0;
        while filled < got.len() {
            net::wait(fd.as_fd(), libc::POLLIN, u16::MAX)?;
            let count = recv(fd.as_raw_fd(), &mut got[filled..], MsgFlags::empty())
                .with_context(|| format!("recv in round {round}"))?;
            ensure!(count > 0, "end of file in round {round}");
            filled += count;
        }
        ensure!(
            got == wanted,
            "round {round}: {got:x?} arrived, not {wanted:x?}"
        );
        Ok(())
    }
}

/// An established socket with the chosen numbers, still under repair.
fn repaired(side: usize) -> Result<OwnedFd> {
    let address = |side: usize| {
        SockaddrStorage::from(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORTS[side]))
    };
    let fd = net::new_socket(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
    let set = |name, value| net::set_int(&fd, libc::IPPROTO_TCP, name, value);
    setsockopt(&fd, sockopt::ReuseAddr, &true).context("SO_REUSEADDR")?;
    set(libc::TCP_REPAIR, 1).context("TCP_REPAIR")?;
    bind(fd.as_raw_fd(), &address(side)).context("bind")?;
    // The client gives its SYN a number too, which the server acknowledges.
    let syn = i32::from(side == CLIENT);
    set(libc::TCP_REPAIR_QUEUE, SEND_QUEUE).context("TCP_REPAIR_QUEUE")?;
    set(libc::TCP_QUEUE_SEQ, FIRST[side] - syn).context("TCP_QUEUE_SEQ")?;
    set(libc::TCP_REPAIR_QUEUE, RECV_QUEUE).context("TCP_REPAIR_QUEUE")?;
    set(libc::TCP_QUEUE_SEQ, FIRST[1 - side]).context("TCP_QUEUE_SEQ")?;
    connect(fd.as_raw_fd(), &address(1 - side)).context("connect")?;
    if side == CLIENT {
        set(libc::TCP_REPAIR_QUEUE, SEND_QUEUE).context("TCP_REPAIR_QUEUE")?;
        send(fd.as_raw_fd(), &[0], MsgFlags::empty()).context("the number of the SYN")?;
    }
    // No TIME_WAIT: the next run wants the same addresses.
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&fd, sockopt::Linger, &linger).context("SO_LINGER")?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true).context("TCP_NODELAY")?;
    net::set_nonblocking(&fd)?;
    Ok(fd)
}

/// Does something in another cgroup, given from the root: a socket belongs to
/// the cgroup in which it was made.
fn in_cgroup<T>(other: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = cgroup::own()?;
    let move_to = |cgroup: &Path| {
        let procs = cgroup.join(PROCESSES);
        fs::write(&procs, "0").with_context(|| format!("move to {}", procs.display()))
    };
    move_to(&cgroup::root()?.join(other.trim_start_matches('/')))?;
    let result = work();
    move_to(&own)?;
    result
}
