//! The begin of a run: a data path is made and tested, or that of an agent before is
//! taken over.

use std::path::Path;

use socketvirt_common::record::{
    config::{Mode, ReceiveMode},
    layout::KernelLayout,
};

use super::{
    effective::{Degraded, Effective},
    error::RunError,
    scope::Target,
};
use crate::{
    bpf::object,
    datapath::{
        config::ConfigMap,
        exchange::{self, ExchangeError},
        home::{self, Home},
        load::DataPath,
        selftest,
        takeover::{self, Found},
    },
    host::{bpffs::PinDir, namespaces},
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
    if let Some(target) = target {
        let taken = match takeover::find(target.id)? {
            Some(Found::Ours(pins)) => Some(take(mode, target, pins)?),
            Some(Found::OfAnother(pins)) => exchange(mode, target, pins)?,
            None => None,
        };
        if let Some(taken) = taken {
            return Ok(taken);
        }
    }
    make(mode, target)
}

/// Takes over a data path of this build.
fn take(mode: Mode, target: &Target, pins: PinDir) -> Result<Begun, RunError> {
    let mut effective = Effective::new(mode);
    effective.receive_mode = ConfigMap::open(pins.path())?.get().receive_mode;
    limit(true, &mut effective);
    tell!(
        "taking over the data path of the agent before, with {} enrolled sockets",
        home::enrolled(&pins.path().join(home::FAST))
    );
    Ok(Begun {
        home: Home::taken(pins),
        effective,
        cgroup: target.id,
        is_taken: true,
    })
}

/// Takes over a data path of another build, and puts this build's programs behind its
/// maps; none when they do not fit, and it was given up.
///
/// # Errors
/// When the programs cannot be loaded or tested. The data path stays as it was.
fn exchange(mode: Mode, target: &Target, mut pins: PinDir) -> Result<Option<Begun>, RunError> {
    let layout = layout::kernel_layout()?;
    let mut effective = Effective::new(mode);
    let before = object::Name::of(pins.path());
    let misfit = match try_out(&layout, &mut effective, pins.path())? {
        None => exchange::exchange(&layout, &mut pins)
            .err()
            .map(Misfit::Exchange),
        misfit => misfit,
    };
    if let Some(misfit) = misfit {
        takeover::give_up(pins, &misfit)?;
        return Ok(None);
    }
    let enrolled = home::enrolled(&pins.path().join(home::FAST));
    limit(true, &mut effective);
    tell!(
        "taking over the data path of socketvirt {before}, with {enrolled} enrolled sockets: its \
         programs are those of {} now",
        object::Name::own()
    );
    Ok(Some(Begun {
        home: Home::taken(pins),
        effective,
        cgroup: target.id,
        is_taken: true,
    }))
}

/// The reason that this build's programs do not take over a data path of another.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("has a map {0} that this build cannot use")]
    Map(String),
    #[error("receives in mode {}, and the self-test of this build chose {}", before.word(), now.word())]
    ReceiveMode {
        before: ReceiveMode,
        now: ReceiveMode,
    },
    #[error("cannot be watched by this build")]
    Unwatched,
    #[error("could not be exchanged ({0})")]
    Exchange(ExchangeError),
}

/// Tests this build's programs in a home of their own, which is gone afterwards, and
/// says whether they can go on with the data path in `old`.
fn try_out(
    layout: &KernelLayout,
    effective: &mut Effective,
    old: &Path,
) -> Result<Option<Misfit>, RunError> {
    let mut home = Home::make("test")?;
    let folder = home.pins.path();
    let mut datapath = DataPath::load(layout, folder)?;
    let misfit = datapath.misfit(folder, old)?.map(Misfit::Map);
    if misfit.is_none() {
        attach(&mut datapath, layout, &home, effective)?;
    }
    drop(datapath);
    home.take_away()?;
    if misfit.is_some() {
        return Ok(misfit);
    }
    let before = ConfigMap::open(old)?.get().receive_mode;
    let now = effective.receive_mode;
    if before != now {
        return Ok(Some(Misfit::ReceiveMode { before, now }));
    }
    let is_off = effective.mode == Mode::Off && effective.asked != Mode::Off;
    Ok(is_off.then_some(Misfit::Unwatched))
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
