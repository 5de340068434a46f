//! What watches programs beside their sockets' own callbacks: trace points.

use std::path::Path;

use aya::{
    Btf,
    maps::{HashMap, RingBuf},
    programs::{BtfTracePoint, FEntry},
};
use socketvirt_common::record::layout::KernelLayout;

use super::{home, load::DataPath};
use crate::{
    bpf::{error::DataPathError, link::pin},
    program::begun::Begun,
};

/// TCP's own function for splice(2), net/ipv4/tcp.c.
const TCP_SPLICE: &str = "tcp_splice_read";
/// Traced where `io_uring_setup(2)` has made one, `io_uring/io_uring.c`.
const RING: &str = "io_uring_create";
/// Where there is `io_uring` (since 6.6).
const RING_SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";
/// Traced where a call has read a TCP socket, `net/ipv4/tcp_input.c`.
const TCP_READ: &str = "tcp_rcv_space_adjust";

impl DataPath {
    /// Watches splice(2), which gets nothing out of an enrolled socket: what
    /// has been spliced is kept off.
    ///
    /// Where the kernel lets programs into its functions, TCP's own is watched,
    /// which costs nobody else; elsewhere each call that reads TCP is looked at.
    /// A trace point of splice(2) itself would make every system call of the
    /// host slower. Returns what of the kernel is watched.
    ///
    /// # Errors
    /// When neither can be watched: the kernel refuses, or it is not known
    /// where a program's registers tell its call.
    pub fn watch_splice(
        &mut self,
        layout: &KernelLayout,
        folder: &Path,
    ) -> Result<&'static str, DataPathError> {
        match self.watch_tcp_splice(folder) {
            Err(DataPathError::Program { .. }) if layout.call_number != 0 => {
                self.trace("sv_read", TCP_READ, &folder.join(home::SPLICE_LINK))?;
                Ok(TCP_READ)
            }
            watched => watched.map(|()| TCP_SPLICE),
        }
    }

    fn watch_tcp_splice(&mut self, folder: &Path) -> Result<(), DataPathError> {
        let btf = Btf::from_sys_fs()?;
        let program: &mut FEntry = self.program("sv_tcp_splice")?;
        let link = program
            .load(TCP_SPLICE, &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(DataPathError::program("sv_tcp_splice"))?;
        pin(
            link.into(),
            "sv_tcp_splice",
            &folder.join(home::SPLICE_LINK),
        )
    }

    /// Watches the flags of receive calls, for what an enrolled socket answers
    /// differently.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_receive(&mut self, folder: &Path) -> Result<(), DataPathError> {
        let at = folder.join(home::RECEIVE_LINK);
        self.trace("sv_receive", "sock_recv_length", &at)
    }

    /// Watches programs make an `io_uring`, which keeps the sockets of their
    /// cgroup off; a kernel without has nothing to watch.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_rings(&mut self, folder: &Path) -> Result<(), DataPathError> {
        if !Path::new(RING_SWITCH).exists() {
            return Ok(());
        }
        self.trace("sv_ring", RING, &folder.join(home::RING_LINK))
    }

    /// Watches programs begin, and processes come to another cgroup, so that
    /// the agent looks at them before their sockets are enrolled.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_programs(&mut self, folder: &Path) -> Result<(), DataPathError> {
        let watched = [
            ("sv_exec", "sched_process_exec", home::EXEC_LINK),
            ("sv_moved", "cgroup_attach_task", home::MOVED_LINK),
        ];
        for (name, tracepoint, at) in watched {
            self.trace(name, tracepoint, &folder.join(at))?;
        }
        Ok(())
    }

    /// The programs that have begun, and what wakes the agent.
    ///
    /// # Errors
    /// When a map cannot be opened.
    pub fn take_begun(&mut self) -> Result<Begun, DataPathError> {
        let mut take = |name| self.ebpf.take_map(name).ok_or(DataPathError::Missing(name));
        let (begun, looked, wake) = (take("sv_begun")?, take("sv_looked")?, take("sv_wake")?);
        Begun::new(
            HashMap::try_from(begun).map_err(DataPathError::map("opening sv_begun"))?,
            HashMap::try_from(looked).map_err(DataPathError::map("opening sv_looked"))?,
            RingBuf::try_from(wake).map_err(DataPathError::map("opening sv_wake"))?,
        )
        .map_err(DataPathError::map("counting the programs of all cgroups"))
    }

    /// Attaches a program to a trace point of the kernel.
    fn trace(
        &mut self,
        name: &'static str,
        tracepoint: &str,
        at: &Path,
    ) -> Result<(), DataPathError> {
        let btf = Btf::from_sys_fs()?;
        let program: &mut BtfTracePoint = self.program(name)?;
        let link = program
            .load(tracepoint, &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(DataPathError::program(name))?;
        pin(link.into(), name, at)
    }
}
