//! One run: a data path and whose connections it accelerates, from the start of
//! a command, or of an agent of the host, to its end.

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use socketvirt_common::record::{
    config::{Config, Mode},
    stats::Stats,
};

use super::{
    begin::{Begun, begin},
    effective::{Degraded, Effective},
    error::RunError,
    scope::{Scope, Target, again::Following},
    summary::Summary,
};
use crate::{
    datapath::{
        calls::Calls,
        config::ConfigMap,
        home::{self, Home},
        leftovers, pinned,
        stats::StatsMap,
        tiers::Tiers,
    },
    host::cgroup::Cgroup,
    kernel::require,
    policy::{Policy, names::Names, store::Store, vouches},
    program::{habits::Habits, readers::Readers, splicers::Splicers},
    watch::{
        error::WatchError, scope::Id, steering::Steering, watcher::Watcher, watching::Watching,
    },
};

/// The longest wait of a run's end for pairs to be released. Programs that
/// have ended have none; those that go on in the background are waited for.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose connections are accelerated.
    pub scope: Scope,
    /// When sockets are enrolled.
    pub mode: Mode,
    /// What is enrolled, and the text that says so; all is without.
    pub policy: Option<(Policy, String)>,
    /// What is vouched for of every program: bits, see
    /// [`NO_SPLICE`](socketvirt_common::record::policy::NO_SPLICE).
    pub assume: u32,
    /// The time from one look at pairs that may change to the next.
    pub interval: Duration,
}

impl Options {
    /// What is vouched for of any program.
    fn assumes(&self) -> u32 {
        let policy = self.policy.as_ref();
        self.assume | policy.map_or(0, |(policy, _)| policy.assumes())
    }
}

/// A run at work. Dropped without [`Run::finish`], it takes away what it can.
pub struct Run {
    // The order is that of dropping: watching ends before its home goes.
    following: Option<Following>,
    watching: Option<Watching>,
    home: Home,
    effective: Arc<Effective>,
    /// The end of all but the cgroup.
    detached: Option<Finished>,
}

/// The outcome of a run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The summary of its work.
    pub summary: Summary,
    /// What stays for the next start to clear, in words for the operator.
    pub left: Option<String>,
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
        leftovers::clear();
        // Before anything is made: its path may be wrong.
        let target = options.scope.target()?;
        let mut begun = begin(options.mode, target.as_ref())?;
        if let Some(words) = vouches::shortcoming(options.assumes()) {
            begun.effective.degrade(Degraded::Vouch(words));
        }
        let folder = begun.home.pins.path();
        // Before the first connection is enrolled.
        set_policy(folder, options, begun.is_taken)?;
        let id = Id::new(begun.cgroup);
        let following = follow_scope(options, target.as_ref(), &id, folder)?;
        let watcher = watcher(&begun, &id, options.assume)?;
        Ok(Self {
            following,
            watching: Some(Watching::start(watcher, options.interval)?),
            home: begun.home,
            effective: Arc::new(begun.effective),
            detached: None,
        })
    }

    /// What is on, and why it is less than was asked for.
    #[must_use]
    pub fn effective(&self) -> &Arc<Effective> {
        &self.effective
    }

    /// The folder in which the data path is pinned.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.home.pins.path()
    }

    /// The handle on the watching thread; none once the data path was taken away.
    #[must_use]
    pub fn steering(&self) -> Option<&Steering> {
        self.watching.as_ref().map(Watching::steering)
    }

    /// Descriptors that poll(2) reports once one of the threads has ended, which
    /// none does by itself.
    #[must_use]
    pub fn ends(&self) -> Vec<BorrowedFd<'_>> {
        let watching = self.watching.as_ref().map(Watching::end);
        let following = self.following.as_ref().map(Following::end);
        watching.into_iter().chain(following).collect()
    }

    /// The file that a process writes itself into to join; none when that is not the
    /// run's own cgroup.
    #[must_use]
    pub fn cgroup_procs(&self) -> Option<PathBuf> {
        self.home.cgroup.as_ref().map(Cgroup::procs_file)
    }

    /// Releases what can be released, takes everything away and says what
    /// was done, also when some of it cannot be done.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let mut finished = match self.detached.take() {
            Some(finished) => finished,
            None => self.end(),
        };
        match self.home.take_away() {
            Ok(left) => finished.left = left,
            Err(error) => finished.failure = finished.failure.or(Some(error.into())),
        }
        finished
    }

    /// Ends the watching, and leaves the data path for the next agent; one that carries
    /// nothing is taken away.
    #[must_use]
    pub fn leave(mut self) -> Finished {
        let folder = self.home.pins.path().to_owned();
        let enrolled = home::enrolled(&folder.join(home::FAST));
        if enrolled == 0 || self.detached.is_some() {
            return self.finish();
        }
        let followed = self.following.take().map_or(Ok(()), Following::finish);
        let stopped = match self.watching.take() {
            Some(watching) => watching.leave().map_err(RunError::from),
            None => Ok(Stats::default()),
        };
        let (stats, failure) = match stopped {
            Ok(stats) => (stats, followed.err().map(RunError::from)),
            Err(error) => (StatsMap::pinned(&folder), Some(error)),
        };
        self.home.leave();
        Finished {
            summary: Summary::new(&self.effective, &stats),
            left: Some(format!(
                "the data path stays on, with {enrolled} enrolled sockets: the next `socketvirt run` \
                 takes it over, `socketvirt drain` takes it away"
            )),
            failure,
        }
    }

    /// [`Run::finish`], but for the cgroup and the processes in it, whose
    /// connections go on as plain TCP.
    pub fn detach(&mut self) -> &mut Finished {
        let finished = match self.detached.take() {
            Some(finished) => finished,
            None => self.end(),
        };
        self.detached.insert(finished)
    }

    /// Ends the threads and takes the data path away.
    fn end(&mut self) -> Finished {
        let followed = self.following.take().map_or(Ok(()), Following::finish);
        let (stats, mut failure) = match self.end_watch() {
            Ok(stats) => (stats, None),
            Err(error) => {
                // The error that comes first is the one to report.
                let _ = leftovers::drain(self.home.pins.path());
                // What was counted until then is better than nothing.
                (StatsMap::pinned(self.home.pins.path()), Some(error))
            }
        };
        failure = failure.or(followed.err().map(RunError::from));
        let left = self.home.detach().unwrap_or_else(|error| {
            failure = failure.take().or(Some(error.into()));
            None
        });
        Finished {
            summary: Summary::new(&self.effective, &stats),
            left,
            failure,
        }
    }

    fn end_watch(&mut self) -> Result<Stats, RunError> {
        match self.watching.take() {
            Some(watching) => Ok(watching.finish(DRAIN_PATIENCE)?),
            None => Ok(Stats::default()),
        }
    }
}

/// Puts the policy in force that the run begins with. One that was in force before is
/// no more.
fn set_policy(folder: &Path, options: &Options, is_taken: bool) -> Result<(), RunError> {
    let mut store = Store::open(folder)?;
    // Those of the agent before.
    store.forgive()?;
    if let Some((policy, text)) = &options.policy {
        store.apply(policy, text)?;
    } else if is_taken && store.active().generation() != 0 {
        let text = format!("default = \"{}\"\n", options.mode.word());
        let all = Policy::parse(Path::new("command line"), &text).map_err(Box::new)?;
        store.apply(&all, &text)?;
    }
    Ok(())
}

/// Prepares to watch a data path, and turns on what can be on.
fn watcher(begun: &Begun, id: &Id, assume: u32) -> Result<Watcher, RunError> {
    let (folder, effective) = (begun.home.pins.path(), &begun.effective);
    let tiers = Tiers::open(folder).map_err(WatchError::from)?;
    // Before a handshake enrols: an agent that is killed just then was one that watched.
    tiers.beat().map_err(WatchError::from)?;
    let mut calls = Calls::open(folder)?;
    calls.narrow().map_err(RunError::Narrow)?;
    if effective.mode == Mode::Eager && !calls.are_attached() {
        // Of an agent before, which adopted: who reads went unseen meanwhile.
        calls.attach()?;
        tiers.forget_readers().map_err(WatchError::from)?;
    }
    let mut watcher = Watcher::new(
        ConfigMap::open(folder)?,
        StatsMap::open(folder)?,
        tiers,
        Readers::new(pinned::processes(folder)?, pinned::rings(folder)?),
        Splicers::new(Habits::new(pinned::habits(folder)?), pinned::begun(folder)?),
        begun.home.cgroup.as_ref().map(Cgroup::procs_file),
    )
    .with_older(begun.home.cgroup.is_none())
    .with_policy(Names::open(folder)?)
    .following(id.clone())
    .tracing(
        (effective.mode == Mode::Adopt).then_some(calls),
        Calls::submissions(folder)?,
    );
    if !begun.is_taken {
        watcher.reset_stats()?;
    }
    turn_on(&mut watcher, effective, id, assume)?;
    Ok(watcher)
}

/// Turns on what can be on.
fn turn_on(
    watcher: &mut Watcher,
    effective: &Effective,
    id: &Id,
    assume: u32,
) -> Result<(), WatchError> {
    if effective.mode == Mode::Eager {
        watcher.inspect_first()?;
    }
    watcher.config().change(|config| {
        *config = Config {
            cgroup: id.get(),
            mode: effective.mode,
            receive_mode: effective.receive_mode,
            assume: match vouches::shortcoming(assume) {
                Some(_) => 0,
                None => assume,
            },
            ..Config::default()
        };
    })?;
    Ok(())
}

/// Follows the path of a cgroup, which may be made again.
fn follow_scope(
    options: &Options,
    target: Option<&Target>,
    id: &Id,
    folder: &Path,
) -> Result<Option<Following>, RunError> {
    let (Scope::Cgroup(_), Some(target)) = (&options.scope, target) else {
        return Ok(None);
    };
    let program = pinned::handshake(folder)?;
    Ok(Some(Following::start(target, id.clone(), program, folder)?))
}
