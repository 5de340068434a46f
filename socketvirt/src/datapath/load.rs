//! Loading the programs and maps, pinning them, and taking them away.
//!
//! Everything is pinned in one folder, links included, so that enrolled
//! sockets go on when the agent ends: freeing `sv_fast` would drop the bytes
//! in its sockets' queues.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, MapFd, ProgramArray, SkStorage},
    programs::{
        CgroupAttachMode, Iter, Program, ProgramError, RawTracePoint, SkMsg, SkSkb, SockOps,
    },
};
use aya_obj::generated::bpf_attach_type;
use socketvirt_common::{
    reason::Reason,
    record::{event::AGENT_NOTES, flow::Flow, layout::KernelLayout, program, raw::Raw},
};
use zerocopy::IntoBytes as _;

use super::{config::ConfigMap, home};
use crate::{
    bpf::{error::BpfError, link::keep, object, sys},
    kernel::cast,
};

/// Sockets that can be enrolled, and ends that can be remembered, at once.
///
/// A full map costs acceleration, never a connection.
pub const MAX_SOCKETS: u32 = 65_536;

/// The programs and maps, loaded.
pub struct DataPath {
    pub(super) ebpf: Ebpf,
    /// The kernel's types: to read them takes tens of milliseconds.
    pub(super) btf: Arc<Btf>,
}

impl DataPath {
    /// Loads programs and maps into the kernel and pins them in `folder`.
    /// Nothing is attached to a cgroup yet.
    ///
    /// # Errors
    /// When the kernel refuses any of it.
    pub fn load(layout: &KernelLayout, folder: &Path) -> Result<Self, BpfError> {
        let mut path = Self::create(layout, folder, None)?;
        path.decide()?;
        Ok(path)
    }

    /// Loads programs for the maps of the data path that is pinned in `old`, and pins
    /// these maps and the programs in `folder`. Nothing runs them yet.
    ///
    /// # Errors
    /// When the kernel refuses any of it.
    pub(super) fn load_behind(
        layout: &KernelLayout,
        folder: &Path,
        old: &Path,
    ) -> Result<Self, BpfError> {
        Self::create(layout, folder, Some(old))
    }

    fn create(layout: &KernelLayout, folder: &Path, old: Option<&Path>) -> Result<Self, BpfError> {
        let btf = Arc::new(Btf::from_sys_fs()?);
        let there = old.map(shared_maps).transpose()?.unwrap_or_default();
        let mut loader = EbpfLoader::new();
        for (name, at) in &there {
            loader.map_pin_path(name, at);
        }
        let mut ebpf = loader
            .btf(Some(&btf))
            .override_global("LAYOUT", layout.as_bytes(), true)
            .map_max_entries("sv_pairs", 2 * MAX_SOCKETS)
            .map_max_entries("sv_fast", MAX_SOCKETS)
            .map_max_entries("sv_next", MAX_SOCKETS)
            .map_max_entries("sv_events", AGENT_NOTES)
            .override_global("NOTES_MASK", &const { AGENT_NOTES - 1 }, true)
            .load(&cast::fill(object::OBJECT, layout))
            .map_err(|error| BpfError::Load(Box::new(error)))?;

        let build = ebpf.map_mut(object::BUILD);
        object::mark(build.ok_or(BpfError::Missing(object::BUILD))?)
            .map_err(BpfError::map("writing sv_build"))?;
        for (name, map) in ebpf.maps() {
            // Read-only data belongs to the programs alone.
            if name.starts_with("sv_") {
                map.pin(folder.join(name)).map_err(|source| BpfError::Pin {
                    name: name.to_owned(),
                    source: Box::new(source),
                })?;
            }
        }
        let mut path = Self {
            ebpf,
            btf: Arc::clone(&btf),
        };
        path.load_programs(&btf, folder)?;
        Ok(path)
    }

    /// Returns the name of a map that `old` has, and programs of this build cannot use.
    /// A map that is missing there is none.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn misfit(&self, folder: &Path, old: &Path) -> Result<Option<String>, BpfError> {
        let shape = |path: &Path| {
            let map = sys::pinned(path).and_then(sys::shape);
            map.map_err(BpfError::Pinned)
        };
        for (name, at) in shared_maps(old)? {
            // A program may be pinned under such a name, or a map of another build.
            if self.ebpf.map(&name).is_some() && shape(&at)? != shape(&folder.join(&name))? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn load_programs(&mut self, btf: &Btf, folder: &Path) -> Result<(), BpfError> {
        let program: &mut SockOps = self.program("sv_sock_ops")?;
        program.load().map_err(BpfError::program("sv_sock_ops"))?;
        self.pin("sv_sock_ops", &folder.join(home::SOCK_OPS))?;

        for name in ["sv_msg", "sv_msg_entry"] {
            let program: &mut SkMsg = self.program(name)?;
            program.load().map_err(BpfError::program(name))?;
        }
        let program: &mut SkSkb = self.program("sv_unify")?;
        program.load().map_err(BpfError::program("sv_unify"))?;

        for (name, at) in [("sv_watch", home::WATCH), ("sv_decide", home::DECIDE)] {
            let program: &mut RawTracePoint = self.program(name)?;
            program.load().map_err(BpfError::program(name))?;
            self.pin(name, &folder.join(at))?;
        }
        for (name, over, at) in [
            ("sv_act", "tcp", home::ACT_LINK),
            ("sv_discover", "tcp", home::DISCOVER_LINK),
            ("sv_holders", "task_file", home::HOLDERS_LINK),
        ] {
            let program: &mut Iter = self.program(name)?;
            program.load(over, btf).map_err(BpfError::program(name))?;
            let link = program
                .attach()
                .and_then(|link| program.take_link(link))
                .map_err(BpfError::program(name))?;
            keep(link, name, &folder.join(at))?;
        }
        Ok(())
    }

    /// Has this build's programs decide about messages: at once about those of all
    /// enrolled sockets.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn decide(&mut self) -> Result<(), BpfError> {
        let program: &SkMsg = self.program_ref("sv_msg")?;
        let fd = program
            .fd()
            .and_then(|fd| fd.try_clone().map_err(ProgramError::IOError))
            .map_err(BpfError::program("sv_msg"))?;
        let mut dispatch = ProgramArray::try_from(
            self.ebpf
                .map_mut("sv_dispatch")
                .ok_or(BpfError::Missing("sv_dispatch"))?,
        )
        .map_err(BpfError::map("opening sv_dispatch"))?;
        dispatch
            .set(0, &fd, 0)
            .map_err(BpfError::map("putting sv_msg into sv_dispatch"))?;

        let program: &SkMsg = self.program_ref("sv_msg_entry")?;
        let fd = program.fd().map_err(BpfError::program("sv_msg_entry"))?;
        sys::attach(self.fast_fd()?, fd, bpf_attach_type::BPF_SK_MSG_VERDICT)
            .map_err(BpfError::attach("sv_msg_entry"))
    }

    /// Attaches the handshake program to `cgroup`: from now on its new
    /// connections are seen.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, cgroup: &File, folder: &Path) -> Result<(), BpfError> {
        attach_to(self.program("sv_sock_ops")?, cgroup, folder)
    }

    /// Makes sockets that are enrolled from now on receive in unified mode,
    /// or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unify(&mut self, on: bool) -> Result<(), BpfError> {
        let program: &SkSkb = self.program_ref("sv_unify")?;
        let program = program.fd().map_err(BpfError::program("sv_unify"))?;
        let change = if on { sys::attach } else { sys::detach };
        change(
            self.fast_fd()?,
            program,
            bpf_attach_type::BPF_SK_SKB_STREAM_VERDICT,
        )
        .map_err(BpfError::attach("sv_unify"))
    }

    /// The switches, for the one thread that sets them.
    ///
    /// # Errors
    /// When the map cannot be opened.
    pub fn take_config(&mut self) -> Result<ConfigMap, BpfError> {
        let map = self
            .ebpf
            .take_map("sv_config")
            .ok_or(BpfError::Missing("sv_config"))?;
        Array::try_from(map)
            .map(ConfigMap::new)
            .map_err(BpfError::map("opening sv_config"))
    }

    /// The flows, by socket descriptor.
    ///
    /// # Errors
    /// When the map cannot be opened.
    pub fn flows(&self) -> Result<SkStorage<&MapData, Raw<Flow>>, BpfError> {
        SkStorage::try_from(
            self.ebpf
                .map("sv_flow")
                .ok_or(BpfError::Missing("sv_flow"))?,
        )
        .map_err(BpfError::map("opening sv_flow"))
    }

    /// Forgets what programs have shown.
    ///
    /// # Errors
    /// When the map cannot be opened or written.
    pub fn forget_habits(&mut self) -> Result<(), BpfError> {
        let map = self
            .ebpf
            .map_mut("sv_habits")
            .ok_or(BpfError::Missing("sv_habits"))?;
        let mut habits: HashMap<_, Raw<program::Program>, Raw<Reason>> =
            HashMap::try_from(map).map_err(BpfError::map("opening sv_habits"))?;
        let programs: Vec<_> = habits.keys().filter_map(Result::ok).collect();
        for program in programs {
            match habits.remove(&program) {
                // The oldest go by themselves when the map is full.
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(BpfError::map("forgetting habits")(error)),
            }
        }
        Ok(())
    }

    fn fast_fd(&self) -> Result<&MapFd, BpfError> {
        match self.ebpf.map(home::FAST) {
            Some(Map::SockHash(map)) => Ok(map.fd()),
            _ => Err(BpfError::Missing(home::FAST)),
        }
    }

    /// Pins a program that is loaded, so that it can be attached, or run, later.
    pub(super) fn pin(&mut self, name: &'static str, at: &Path) -> Result<(), BpfError> {
        let program = self.ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
        program.pin(at).map_err(|source| BpfError::Pin {
            name: name.to_owned(),
            source: Box::new(source),
        })
    }

    pub(super) fn program_ref<'a, P>(&'a self, name: &'static str) -> Result<&'a P, BpfError>
    where
        &'a P: TryFrom<&'a Program, Error = ProgramError>,
    {
        self.ebpf
            .program(name)
            .ok_or(BpfError::Missing(name))?
            .try_into()
            .map_err(BpfError::program(name))
    }

    pub(super) fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, BpfError>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        self.ebpf
            .program_mut(name)
            .ok_or(BpfError::Missing(name))?
            .try_into()
            .map_err(BpfError::program(name))
    }
}

/// Maps that each build has for itself: what says which one it is, and room for work.
const OWN: [&str; 3] = [object::BUILD, "sv_scratch", "sv_sockets"];

/// What may be a map of a data path that another build can go on with, and where it is.
fn shared_maps(folder: &Path) -> Result<Vec<(String, PathBuf)>, BpfError> {
    let entries = fs::read_dir(folder).map_err(BpfError::Pinned)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BpfError::Pinned)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("sv_") && !OWN.contains(&&*name) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// [`DataPath::attach`], of the program itself.
pub(crate) fn attach_to(
    program: &mut SockOps,
    cgroup: &File,
    folder: &Path,
) -> Result<(), BpfError> {
    // A link is always one of several (kernel/bpf/cgroup.c,
    // cgroup_bpf_link_attach); the flag itself is refused.
    let link = program
        .attach(cgroup, CgroupAttachMode::Single)
        .and_then(|link| program.take_link(link))
        .map_err(BpfError::program("sv_sock_ops"))?;
    keep(link, "sv_sock_ops", &folder.join(home::SOCK_OPS_LINK))
}
