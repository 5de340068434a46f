//! One run: a data path and whose connections it accelerates, from the start of
//! a command, or of an agent of the host, to its end.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::utsname::uname;
use socketvirt_common::record::{
    config::{Config, Mode, ReceiveMode},
    layout::KernelLayout,
    stats::Stats,
};

use super::{
    scope::{Scope, Target, again::Following},
    summary::Summary,
};
use crate::{
    bpf::error::DataPathError,
    datapath::{
        home::{self, Home, HomeError},
        leftovers,
        load::DataPath,
        selftest::{self, SelfTestError},
        stats::StatsMap,
        tiers::Tiers,
    },
    host::{bpffs::PinError, cgroup::CgroupError, namespaces},
    kernel::{
        layout::{self, LayoutError},
        require::{self, Requirement},
    },
    program::{habits::Habits, readers::Readers, splicers::Splicers},
    watch::{
        scope::Id,
        watcher::{WatchError, Watcher, Watching},
    },
};

/// How long the end of a run waits for pairs to be released. Programs that
/// have ended have none; those that go on in the background are waited for.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Why connections are adopted by an agent in a pid namespace of its own.
const HIDDEN: &str = "eager mode is not used, connections are adopted: processes outside of this pid namespace \
                      cannot be looked at before their sockets are enrolled";

/// A run could not be started or ended as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The machine or the caller lacks something.
    #[error(transparent)]
    Requirement(#[from] Requirement),
    /// The kernel's structures are not what the programs need.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The pinned objects.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The programs and maps.
    #[error(transparent)]
    DataPath(#[from] DataPathError),
    /// The self-test.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// Its home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What steers it.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The cgroup cannot be followed when it is made again.
    #[error("starting the thread that follows the cgroup failed: {source}")]
    Follow {
        /// What the kernel answered.
        source: io::Error,
    },
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose connections are accelerated.
    pub scope: Scope,
    /// When sockets are enrolled.
    pub mode: Mode,
    /// The time from one look at pairs that may change to the next.
    pub interval: Duration,
}

/// A run at work. Dropped without [`Run::finish`], it takes away what it can.
pub struct Run {
    // The order is that of dropping: watching ends before its data path goes.
    following: Option<Following>,
    watching: Option<Watching>,
    path: DataPath,
    home: Home,
    receive_mode: ReceiveMode,
    mode: Mode,
    warnings: Vec<String>,
}

/// What is left when a run has ended.
#[derive(Debug)]
pub struct Finished {
    /// What it did.
    pub summary: Summary,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What did not end as it should. The summary holds all the same.
    pub failure: Option<RunError>,
}

impl Run {
    /// Makes the cgroup, loads and attaches the data path, tests it and
    /// starts watching.
    ///
    /// # Errors
    /// When any of it fails; nothing is left then.
    pub fn start(options: &Options) -> Result<Self, RunError> {
        require::check()?;
        let mut warnings = leftovers::clear();
        let layout = layout::kernel_layout()?;
        // Before anything is made: its path may be wrong.
        let target = options.scope.target()?;
        let mut home = Home::make(match options.scope {
            Scope::Own => "exec",
            Scope::Host | Scope::Cgroup(_) => "run",
        })?;
        let mut path = DataPath::load(&layout, home.pins.path())?;
        path.attach(&home.cgroup.open()?, home.pins.path())?;
        let suitable = watch_calls(&mut path, &layout, home.pins.path(), &mut warnings);
        let mut config = path.take_config()?;
        let stats = path.take_stats()?;

        let tested = {
            let _inside = home.cgroup.enter()?;
            selftest::choose(&mut path, &mut config, home.pins.path())?
        };
        warnings.extend(said(&tested));
        let mut mode = if tested.receive_mode == ReceiveMode::TableOnly || !suitable {
            Mode::Off
        } else {
            options.mode
        };
        // Not earlier: the self-test enrols whatever it meets.
        if let Some(target) = &target {
            home.pins.remove_object(home::SOCK_OPS_LINK)?;
            path.attach(&target.folder, home.pins.path())?;
        }
        if mode == Mode::Adopt && !require::visits_can_follow() {
            warnings.push(
                "nothing is adopted: before Linux 6.12 a visit cannot have a connection's end told"
                    .into(),
            );
        }
        let cgroup = match &target {
            Some(target) => target.id,
            None => home.cgroup.id()?,
        };
        config
            .change(|config| config.cgroup = cgroup)
            .map_err(WatchError::from)?;
        // Of its own cgroup, it sees all but those that are moved there.
        if mode == Mode::Eager && target.is_some() && !namespaces::all_are_visible() {
            mode = Mode::Adopt;
            warnings.push(HIDDEN.into());
        }
        watch_programs(&mut path, home.pins.path(), &mut mode, &mut warnings);
        let splicers = Splicers::new(Habits::new(path.take_habits()?), path.take_begun()?);
        let readers = Readers::new(path.take_processes()?);
        // From here on the folder is complete and has its final name.
        home.pins.publish()?;
        let id = Id::new(cgroup);
        let following = follow_scope(options, target.as_ref(), &id, &path, home.pins.path())?;
        let mut watcher = Watcher::new(
            config,
            stats,
            Tiers::open(home.pins.path()).map_err(WatchError::from)?,
            readers,
            splicers,
            target.is_none().then(|| home.cgroup.procs_file()),
        )
        .with_older(target.is_some())
        .following(id.clone());
        watcher.reset_stats()?;
        if mode == Mode::Eager {
            watcher.look_first()?;
        }
        watcher
            .config()
            .change(|config| {
                *config = Config {
                    cgroup: id.get(),
                    mode,
                    receive_mode: tested.receive_mode,
                    ..Config::default()
                };
            })
            .map_err(WatchError::from)?;
        Ok(Self {
            following,
            watching: Some(watcher.start(options.interval)?),
            path,
            home,
            receive_mode: tested.receive_mode,
            mode: if mode == Mode::Off {
                options.mode
            } else {
                mode
            },
            warnings,
        })
    }

    /// The file that a process writes itself into to join.
    #[must_use]
    pub fn cgroup_procs(&self) -> PathBuf {
        self.home.cgroup.procs_file()
    }

    /// Releases what can be released, takes everything away and says what
    /// was done, also when some of it cannot be done.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        drop(self.following.take());
        let watched = match self.watching.take() {
            Some(watching) => watching.finish(DRAIN_PATIENCE).map_err(RunError::from),
            None => Ok(Stats::default()),
        };
        let (stats, mut failure) = match watched {
            Ok(stats) => (stats, None),
            // What was counted until then is better than nothing.
            Err(error) => (StatsMap::pinned(self.home.pins.path()), Some(error)),
        };
        let mut warnings = std::mem::take(&mut self.warnings);
        let summary = Summary::new(self.mode, self.receive_mode, &stats);
        let Self { path, mut home, .. } = self;
        // Its descriptors would keep what is unpinned alive.
        drop(path);
        match home.take_away() {
            Ok(warning) => warnings.extend(warning),
            Err(error) => failure = failure.or(Some(error.into())),
        }
        Finished {
            summary,
            warnings,
            failure,
        }
    }
}

/// Watches what programs do with their sockets. False when too little can be
/// watched to accelerate anything.
fn watch_calls(
    path: &mut DataPath,
    layout: &KernelLayout,
    folder: &Path,
    warnings: &mut Vec<String>,
) -> bool {
    let splice = path.watch_splice(layout, folder).err();
    let receive = path.watch_receive(folder).err();
    let watched = splice.is_none() && receive.is_none();
    warnings.extend(splice.map(|error| {
        format!("nothing is accelerated, because splice(2) cannot be watched: {error}")
    }));
    warnings.extend(receive.map(|error| {
        format!("nothing is accelerated, because who reads a socket cannot be watched: {error}")
    }));
    if let Err(error) = path.watch_rings(folder) {
        warnings.push(format!(
            "programs that make an io_uring are found by the next look only: {error}"
        ));
    }
    watched
}

/// What the operator should know of the self-test.
fn said(tested: &selftest::Outcome) -> Vec<String> {
    if tested.receive_mode == ReceiveMode::TableOnly {
        return vec![refusal(&tested.defects)];
    }
    let unused = tested.defects.iter();
    unused
        .map(|(mode, defect)| format!("receive mode {} is not used: {defect}", mode.word()))
        .collect()
}

/// Follows the path of a cgroup, which may be made again.
fn follow_scope(
    options: &Options,
    target: Option<&Target>,
    id: &Id,
    path: &DataPath,
    folder: &Path,
) -> Result<Option<Following>, RunError> {
    let (Scope::Cgroup(_), Some(target)) = (&options.scope, target) else {
        return Ok(None);
    };
    let program = path.handshake_program()?;
    Following::start(target, id.clone(), program, folder)
        .map(Some)
        .map_err(|source| RunError::Follow { source })
}

/// Watches programs begin. Where that cannot be, eager mode would enrol those
/// that splice.
fn watch_programs(path: &mut DataPath, folder: &Path, mode: &mut Mode, warnings: &mut Vec<String>) {
    let Err(error) = path.watch_programs(folder) else {
        return;
    };
    let instead = if *mode == Mode::Eager {
        *mode = Mode::Adopt;
        "eager mode is not used, connections are adopted"
    } else {
        "one that runs another program is not looked at again"
    };
    warnings.push(format!(
        "programs are not watched as they begin ({instead}): {error}"
    ));
}

/// Why nothing is accelerated, in one line.
fn refusal(defects: &[(ReceiveMode, impl Display)]) -> String {
    let release = uname().map_or_else(
        |_| String::new(),
        |name| format!(" {}", name.release().display()),
    );
    let mut reasons: Vec<String> = Vec::new();
    for (_, defect) in defects {
        let reason = defect.to_string();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let reasons = reasons.join("; ");
    format!(
        "nothing is accelerated on Linux{release}: {reasons}; `socketvirt table` works all the same"
    )
}
