//! Trace points, which watch programs beside their sockets' own callbacks.

use std::{path::Path, sync::Arc};

use aya::programs::{BtfTracePoint, FEntry};
use socketvirt_common::record::layout::KernelLayout;

use super::{home, load::DataPath};
use crate::bpf::{error::BpfError, link::pin};

/// TCP's own function for splice(2), net/ipv4/tcp.c.
const TCP_SPLICE: &str = "tcp_splice_read";
/// Traced where `io_uring_setup(2)` has made one, `io_uring/io_uring.c`.
const RING: &str = "io_uring_create";
/// Traced where a request is submitted, in the same file (since 6.3).
const SUBMIT: &str = "io_uring_submit_req";
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
    ) -> Result<&'static str, BpfError> {
        match self.watch_tcp_splice(folder) {
            Err(BpfError::Program { .. }) if layout.call_number != 0 => {
                self.trace("sv_read", TCP_READ, &folder.join(home::SPLICE_LINK))?;
                self.pin(home::READ, &folder.join(home::READ))?;
                Ok(TCP_READ)
            }
            watched => watched.map(|()| TCP_SPLICE),
        }
    }

    fn watch_tcp_splice(&mut self, folder: &Path) -> Result<(), BpfError> {
        let btf = Arc::clone(&self.btf);
        let program: &mut FEntry = self.program("sv_tcp_splice")?;
        let link = program
            .load(TCP_SPLICE, &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(BpfError::program("sv_tcp_splice"))?;
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
    pub fn watch_receive(&mut self, folder: &Path) -> Result<(), BpfError> {
        let at = folder.join(home::RECEIVE_LINK);
        self.trace("sv_receive", "sock_recv_length", &at)?;
        self.pin(home::RECEIVE, &folder.join(home::RECEIVE))
    }

    /// Watches programs make an `io_uring`, which keeps the sockets of their
    /// cgroup off; a kernel without has nothing to watch.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_rings(&mut self, folder: &Path) -> Result<(), BpfError> {
        if !Path::new(RING_SWITCH).exists() {
            return Ok(());
        }
        self.trace("sv_ring", RING, &folder.join(home::RING_LINK))
    }

    /// Prepares to watch what is submitted to rings, which costs each submission of
    /// the host: it is attached only while it is needed.
    ///
    /// # Errors
    /// When this kernel does not have it, or refuses.
    pub fn watch_submissions(&mut self, folder: &Path) -> Result<(), BpfError> {
        let btf = Arc::clone(&self.btf);
        let program: &mut BtfTracePoint = self.program(home::SUBMIT)?;
        program
            .load(SUBMIT, &btf)
            .map_err(BpfError::program(home::SUBMIT))?;
        self.pin(home::SUBMIT, &folder.join(home::SUBMIT))
    }

    /// Watches programs begin, and processes come to another cgroup, so that
    /// the agent looks at them before their sockets are enrolled.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_programs(&mut self, folder: &Path) -> Result<(), BpfError> {
        let watched = [
            ("sv_exec", "sched_process_exec", home::EXEC_LINK),
            ("sv_moved", "cgroup_attach_task", home::MOVED_LINK),
        ];
        for (name, tracepoint, at) in watched {
            self.trace(name, tracepoint, &folder.join(at))?;
        }
        Ok(())
    }

    /// Attaches a program to a trace point of the kernel.
    fn trace(&mut self, name: &'static str, tracepoint: &str, at: &Path) -> Result<(), BpfError> {
        let btf = Arc::clone(&self.btf);
        let program: &mut BtfTracePoint = self.program(name)?;
        let link = program
            .load(tracepoint, &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(BpfError::program(name))?;
        pin(link.into(), name, at)
    }
}
