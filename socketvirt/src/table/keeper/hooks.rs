//! The hooks that note what happens.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSock, Program, ProgramError},
};

use crate::{bpf::error::BpfError, host::cgroup, kernel::require, table::TableError};

fn program(name: &'static str) -> impl FnOnce(ProgramError) -> TableError {
    move |source| {
        TableError::Bpf(BpfError::Program {
            name,
            refusal: source.into(),
        })
    }
}

/// Attaches the hooks: those of cgroups to the topmost one. The links go with
/// the object, so that nothing is left whatever happens to this process.
pub fn attach(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), TableError> {
    let mounts = cgroup::mounts().map_err(require::Requirement::from)?;
    let top = mounts
        .first()
        .map_or(Path::new("/sys/fs/cgroup"), |mount| &mount.point);
    let top = fs::File::open(top).map_err(|source| TableError::Cgroup {
        cgroup: top.to_owned(),
        source,
    })?;
    for name in [
        "sv_table_create",
        "sv_table_bind4",
        "sv_table_bind6",
        "sv_table_close",
        "sv_table_state",
    ] {
        let found: &mut Program = ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
        match found {
            Program::CgroupSock(found) => {
                let found: &mut CgroupSock = found;
                found.load().map_err(program(name))?;
                found
                    .attach(&top, CgroupAttachMode::Single)
                    .map_err(program(name))?;
            }
            Program::BtfTracePoint(found) => {
                let found: &mut BtfTracePoint = found;
                found
                    .load("inet_sock_set_state", btf)
                    .map_err(program(name))?;
                found.attach().map_err(program(name))?;
            }
            _ => return Err(BpfError::Missing(name).into()),
        }
    }
    Ok(())
}
