//! Exchanging the programs of a data path for those of this build, while its sockets
//! stay enrolled and fast.
//!
//! The maps stay. This build pins them in a second folder, together with its own
//! programs and links. It then puts its programs to work one after another. Old and new
//! ones meanwhile work on the same records, which both understand
//! ([`object::is_understood`]). At last the two folders exchange their names, at once.
//!
//! Killed at any [`Step`], the folder under the name of the host is complete. Before the
//! last step it is that of the build before, and says that it is of no build: whichever
//! build comes next exchanges all of it again. After the last step it is that of this
//! build.

use std::{
    fs, io, mem,
    path::{Path, PathBuf},
};

use aya::programs::SockOps;
use nix::errno::Errno;
use socketvirt_common::record::{config::ReceiveMode, layout::KernelLayout};

use super::{calls::Calls, config::ConfigMap, home, load::DataPath};
use crate::{
    bpf::{error::BpfError, object, sys},
    host::bpffs::{HOST, PinDir, PinError},
};

/// The programs of a data path could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The folders of pinned objects.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The programs, maps and links.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The trace points of receive calls.
    #[error("detaching the trace points of receive calls failed: {0}")]
    Detach(#[source] io::Error),
}

/// One step of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The folder of the build before says that it is of no build any more.
    Mark,
    /// The trace points of the host run the programs of both builds. What they record
    /// is the same whether it comes once or twice.
    Trace,
    /// Messages of all enrolled sockets are decided about by this build. Sockets that
    /// are enrolled from now on keep its programs.
    Decide,
    /// Handshakes run the program of this build.
    Handshakes,
    /// The new folder takes the name of the host, and the one before goes.
    Publish,
}

impl Step {
    /// All of them, in the order in which they are safe: nothing changes before the
    /// mark, and the last change is the name.
    pub const ALL: [Self; 5] = [
        Self::Mark,
        Self::Trace,
        Self::Decide,
        Self::Handshakes,
        Self::Publish,
    ];
}

/// Exchanges the programs of the data path in `pins`, which the caller has locked, for
/// those of this build.
///
/// # Errors
/// When the kernel refuses. The data path is complete still, and may run programs of
/// both builds.
pub(crate) fn exchange(layout: &KernelLayout, pins: &mut PinDir) -> Result<(), ExchangeError> {
    let mut exchange = Exchange::prepare(layout, pins)?;
    let done = Step::ALL
        .into_iter()
        .try_for_each(|step| exchange.take(step));
    if done.is_err() {
        // The first error is the one to report; the next start finds the folder.
        let _ = exchange.aside.remove();
    }
    done
}

/// An exchange that is prepared: programs are loaded, and none runs. Dropped, it leaves
/// everything as it is, as a kill does.
pub struct Exchange<'a> {
    datapath: DataPath,
    layout: &'a KernelLayout,
    receive_mode: ReceiveMode,
    /// The folder under the name of the host.
    pins: &'a mut PinDir,
    /// The folder of this build, until it is that.
    aside: PinDir,
}

impl<'a> Exchange<'a> {
    /// Loads this build's programs for the maps that are pinned in `pins`.
    ///
    /// # Errors
    /// When the kernel refuses; nothing has changed then.
    pub fn prepare(layout: &'a KernelLayout, pins: &'a mut PinDir) -> Result<Self, ExchangeError> {
        let receive_mode = ConfigMap::open(pins.path())?.get().receive_mode;
        let aside = PinDir::create(HOST)?;
        let datapath = match DataPath::load_behind(layout, aside.path(), pins.path()) {
            Ok(datapath) => datapath,
            Err(error) => {
                let _ = aside.remove();
                return Err(error.into());
            }
        };
        Ok(Self {
            datapath,
            layout,
            receive_mode,
            pins,
            aside,
        })
    }

    /// Takes the next step; they are to be taken in the order of [`Step::ALL`].
    ///
    /// # Errors
    /// When the kernel refuses. What is under the name of the host is complete still.
    pub fn take(&mut self, step: Step) -> Result<(), ExchangeError> {
        match step {
            Step::Mark => {
                object::mark_mixed(self.pins.path()).map_err(BpfError::map("writing sv_build"))?;
            }
            Step::Trace => self.trace()?,
            Step::Decide => {
                self.datapath.decide()?;
                if self.receive_mode == ReceiveMode::Unified {
                    self.datapath.unify(true)?;
                }
            }
            Step::Handshakes => self.handshakes()?,
            Step::Publish => {
                self.aside.replace(self.pins)?;
                mem::swap(&mut self.aside, self.pins);
                // The next start finds what stays.
                let _ = self.aside.remove();
            }
        }
        Ok(())
    }

    fn trace(&mut self) -> Result<(), ExchangeError> {
        let folder = self.aside.path();
        self.datapath.watch_splice(self.layout, folder)?;
        self.datapath.watch_receive(folder)?;
        self.datapath.watch_programs(folder)?;
        // Without, programs with an `io_uring` are kept off, as at any start.
        if self.datapath.watch_rings(folder).is_ok() {
            let _ = self.datapath.watch_submissions(folder);
        }
        // Attached only while it is needed.
        let before = Calls::submissions(self.pins.path())?;
        if before.is_some_and(|calls| calls.are_attached())
            && let Some(mut calls) = Calls::submissions(folder)?
        {
            calls.attach()?;
        }
        // Readers that nobody saw are forgotten when the agent attaches them.
        if !Calls::open(self.pins.path())?.are_attached() {
            let mut calls = Calls::open(folder)?;
            calls.detach().map_err(ExchangeError::Detach)?;
        }
        Ok(())
    }

    /// Each cgroup keeps its link, so that no handshake is missed.
    fn handshakes(&self) -> Result<(), ExchangeError> {
        let program: &SockOps = self.datapath.program_ref("sv_sock_ops")?;
        let program = program.fd().map_err(BpfError::program("sv_sock_ops"))?;
        for link in links(self.pins.path())? {
            let name = link.file_name().unwrap_or_default();
            let exchange = || {
                let opened = sys::pinned(&link)?;
                match sys::update(&opened, program) {
                    // That cgroup is gone, and its sockets.
                    Err(error)
                        if name != home::SOCK_OPS_LINK
                            && error.raw_os_error() == Some(Errno::ENOLINK as i32) =>
                    {
                        Ok(())
                    }
                    Err(error) => Err(error),
                    Ok(()) => sys::pin(&opened, &self.aside.path().join(name)),
                }
            };
            exchange().map_err(|source| BpfError::Exchange {
                link: name.to_string_lossy().into_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

/// The links of handshakes: that of the cgroup, and those of cgroups that were in its
/// place before.
fn links(folder: &Path) -> Result<Vec<PathBuf>, BpfError> {
    let entries = fs::read_dir(folder).map_err(BpfError::Pinned)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BpfError::Pinned)?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(home::SOCK_OPS_LINK)
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}
