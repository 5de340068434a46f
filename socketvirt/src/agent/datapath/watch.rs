//! What watches programs beside their sockets' own callbacks: trace points.

use std::path::Path;

use aya::{
    Btf,
    maps::{HashMap, RingBuf},
    programs::{BtfTracePoint, FEntry, TracePoint},
};

use super::{DataPath, DataPathError, keep, pin};
use crate::agent::{begun::Begun, pins, tracefs};

impl DataPath {
    /// Watches splice(2), which gets nothing out of an enrolled socket: what
    /// has been spliced is kept off.
    ///
    /// A trace point of a system call makes every system call of the host
    /// slower (16 ns each); where the kernel lets programs into its functions,
    /// TCP's own is watched, which costs nobody else.
    ///
    /// # Errors
    /// When neither can be watched: there is no tracefs, or the kernel refuses.
    pub fn watch_splice(&mut self, folder: &Path) -> Result<(), DataPathError> {
        match self.watch_tcp_splice(folder) {
            Err(DataPathError::Program { .. }) => self.watch_splice_calls(folder),
            watched => watched,
        }
    }

    fn watch_tcp_splice(&mut self, folder: &Path) -> Result<(), DataPathError> {
        let btf = Btf::from_sys_fs()?;
        let program: &mut FEntry = self.program("sv_tcp_splice")?;
        let link = program
            .load("tcp_splice_read", &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(DataPathError::program("sv_tcp_splice"))?;
        pin(
            link.into(),
            "sv_tcp_splice",
            &folder.join(pins::SPLICE_LINK),
        )
    }

    fn watch_splice_calls(&mut self, folder: &Path) -> Result<(), DataPathError> {
        tracefs::mounted().map_err(|source| DataPathError::Attach {
            name: "sv_splice",
            source,
        })?;
        let program: &mut TracePoint = self.program("sv_splice")?;
        program
            .load()
            .map_err(DataPathError::program("sv_splice"))?;
        let link = program
            .attach("syscalls", "sys_enter_splice")
            .and_then(|link| program.take_link(link))
            .map_err(DataPathError::program("sv_splice"))?;
        keep(link, "sv_splice", &folder.join(pins::SPLICE_LINK))
    }

    /// Watches the flags of receive calls, for what an enrolled socket answers
    /// differently.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_receive(&mut self, folder: &Path) -> Result<(), DataPathError> {
        let btf = Btf::from_sys_fs()?;
        let program: &mut BtfTracePoint = self.program("sv_receive")?;
        let link = program
            .load("sock_recv_length", &btf)
            .and_then(|()| program.attach())
            .and_then(|link| program.take_link(link))
            .map_err(DataPathError::program("sv_receive"))?;
        pin(link.into(), "sv_receive", &folder.join(pins::RECEIVE_LINK))
    }

    /// Watches programs begin, and processes come to another cgroup, so that
    /// the agent looks at them before their sockets are enrolled.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch_programs(&mut self, folder: &Path) -> Result<Begun, DataPathError> {
        let btf = Btf::from_sys_fs()?;
        let watched = [
            ("sv_exec", "sched_process_exec", pins::EXEC_LINK),
            ("sv_moved", "cgroup_attach_task", pins::MOVED_LINK),
        ];
        for (name, tracepoint, at) in watched {
            let program: &mut BtfTracePoint = self.program(name)?;
            let link = program
                .load(tracepoint, &btf)
                .and_then(|()| program.attach())
                .and_then(|link| program.take_link(link))
                .map_err(DataPathError::program(name))?;
            pin(link.into(), name, &folder.join(at))?;
        }
        let mut take = |name| self.ebpf.take_map(name).ok_or(DataPathError::Missing(name));
        let (begun, looked, wake) = (take("sv_begun")?, take("sv_looked")?, take("sv_wake")?);
        Begun::new(
            HashMap::try_from(begun).map_err(DataPathError::map("opening sv_begun"))?,
            HashMap::try_from(looked).map_err(DataPathError::map("opening sv_looked"))?,
            RingBuf::try_from(wake).map_err(DataPathError::map("opening sv_wake"))?,
        )
        .map_err(DataPathError::map("counting the programs of all cgroups"))
    }
}
