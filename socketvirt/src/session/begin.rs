//! The begin of a run: a data path is made and tested, or that of an agent before is
//! taken over.

use std::path::Path;

use socketvirt_common::record::{config::Mode, layout::KernelLayout};

use super::{
    effective::{Degraded, Effective},
    error::RunError,
    scope::Target,
};
use crate::{
    datapath::{
        config::ConfigMap,
        home::{self, Home},
        load::DataPath,
        selftest, takeover,
    },
    host::namespaces,
    kernel::{layout, require},
    tell,
    watch::error::WatchError,
};

/// A data path, with nobody who watches it yet.
pub(super) struct Begun {
    pub home: Home,
    pub effective: Effective,
    /// The cgroup whose connections it accelerates.
    pub cgroup: u64,
    /// It has worked before.
    pub is_taken: bool,
}

/// Takes over the data path of the host, or makes one, for the cgroup of `target`;
/// makes one with a cgroup of its own without.
pub(super) fn begin(mode: Mode, target: Option<&Target>) -> Result<Begun, RunError> {
    if let Some(target) = target
        && let Some(pins) = takeover::find(target.id)?
    {
        let home = Home::taken(pins);
        let mut effective = Effective::new(mode);
        effective.receive_mode = ConfigMap::open(home.pins.path())?.get().receive_mode;
        limit(true, &mut effective);
        tell!(
            "taking over the data path of the agent before, with {} enrolled sockets",
            home::enrolled(&home.pins.path().join(home::FAST))
        );
        return Ok(Begun {
            home,
            effective,
            cgroup: target.id,
            is_taken: true,
        });
    }
    make(mode, target)
}

fn make(mode: Mode, target: Option<&Target>) -> Result<Begun, RunError> {
    let layout = layout::kernel_layout()?;
    let mut home = match target {
        Some(_) => Home::of_host()?,
        None => Home::make("exec")?,
    };
    let mut effective = Effective::new(mode);
    let mut datapath = DataPath::load(&layout, home.pins.path())?;
    let mut config = attach(&mut datapath, &layout, &home, &mut effective)?;
    // Not earlier: the self-test enrols whatever it meets.
    let cgroup = match target {
        Some(target) => {
            home.pins.remove_object(home::SOCK_OPS_LINK)?;
            datapath.attach(&target.folder, home.pins.path())?;
            home.leave_cgroup()?;
            target.id
        }
        None => home.cgroup()?.id()?,
    };
    config
        .change(|config| config.cgroup = cgroup)
        .map_err(WatchError::from)?;
    if let Err(error) = datapath.watch_programs(home.pins.path()) {
        effective.degrade(Degraded::Programs(error));
    }
    limit(target.is_some(), &mut effective);
    // From here on the folder is complete and has its final name.
    home.pins.publish()?;
    Ok(Begun {
        home,
        effective,
        cgroup,
        is_taken: false,
    })
}

/// Attaches to the run's own cgroup, and tests there what this kernel gets right.
fn attach(
    datapath: &mut DataPath,
    layout: &KernelLayout,
    home: &Home,
    effective: &mut Effective,
) -> Result<ConfigMap, RunError> {
    let folder = home.pins.path();
    datapath.attach(&home.cgroup()?.open()?, folder)?;
    watch_calls(datapath, layout, folder, effective);
    let mut config = datapath.take_config()?;
    let _inside = home.cgroup()?.enter()?;
    effective.tested(selftest::choose(datapath, &mut config, folder)?);
    Ok(config)
}

/// Watches what programs do with their sockets. Without, nothing is accelerated.
fn watch_calls(
    datapath: &mut DataPath,
    layout: &KernelLayout,
    folder: &Path,
    effective: &mut Effective,
) {
    if let Err(error) = datapath.watch_splice(layout, folder) {
        effective.degrade(Degraded::Splice(error));
    }
    if let Err(error) = datapath.watch_receive(folder) {
        effective.degrade(Degraded::Readers(error));
    }
    if let Err(error) = datapath.watch_rings(folder) {
        effective.degrade(Degraded::Rings(error));
    } else if let Err(error) = datapath.watch_submissions(folder) {
        tracing::debug!(%error, "programs with an io_uring are kept off, also those that use it for files");
    }
}

/// Finds what else keeps the mode from being on as it was asked for; `elsewhere`
/// is true when the cgroup is not the run's own.
fn limit(elsewhere: bool, effective: &mut Effective) {
    // Of its own cgroup, it sees all but those that are moved there.
    if effective.mode == Mode::Eager && elsewhere && !namespaces::all_are_visible() {
        effective.degrade(Degraded::Hidden);
    }
    // Last: eager mode, which needs no visit, may have become adopt mode.
    if effective.mode == Mode::Adopt && !require::visits_can_follow() {
        effective.degrade(Degraded::Visits);
    }
}
