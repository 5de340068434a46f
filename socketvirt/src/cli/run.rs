//! `socketvirt run`: the agent of a host. It keeps the table and, when asked
//! to, accelerates.

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use nix::sys::{signal::Signal, signalfd::SignalFd};
use socketvirt_common::record::{config::Mode, event::TableStats};
use tracing::{error, warn};

use super::{
    LogArgs,
    ends::{self, Next},
    exec::{ModeName, NO_ERROR, SCAN_INTERVAL, tell_start, tell_summary},
};
use crate::{
    agent::{
        SOCKET,
        control::{self, Control},
        notify::Manager,
        state::{Accelerating, Started},
    },
    datapath::config,
    kernel::capabilities,
    policy::{Policy, store::Store, vouches},
    session::{
        run::{self, Run},
        scope::Scope,
    },
    table::keeper::{Keeper, Options},
    tell,
};

/// Arguments of `socketvirt run`.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("accelerating").args(["mode", "config"]).multiple(true))]
pub struct Args {
    /// Also accelerate connections within the host; without, nothing but the
    /// table is kept. Comes before what the policy says.
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// Accelerate what this policy says, a TOML file (docs/policy.md). It is read
    /// again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Accelerate those of this cgroup and the ones below it alone.
    #[arg(long, value_name = "PATH", requires = "accelerating")]
    cgroup: Option<PathBuf>,
    /// Keep no table: it costs each connection of the host a microsecond or two.
    /// Events, histories and the pinned rows are missed then; `table` and `show` work.
    #[arg(long, requires = "accelerating", conflicts_with_all = ["rows", "table_interval"])]
    no_table: bool,
    /// Rows at most; each takes about 1 KB of kernel memory, from the start.
    #[arg(long, value_name = "ROWS", default_value_t = Options::default().rows, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    #[arg(long, value_name = "MS", requires = "accelerating", help = SCAN_INTERVAL, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_interval: u64,
    /// Milliseconds from one scan of the table to the next, at least; scans
    /// take at most 1% of one CPU whatever this says.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    table_interval: u64,
    #[arg(long, value_name = "PATH", conflicts_with = "no_admin", help = SOCKET_HELP)]
    admin_socket: Option<PathBuf>,
    /// Members of this group may use the control socket, beside root and the user of
    /// the agent.
    #[arg(long, value_name = "GROUP", conflicts_with = "no_admin")]
    admin_group: Option<String>,
    /// What becomes of the data path when the agent is told to end. At SIGUSR2 it stays
    /// on, whatever this says.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        requires = "accelerating",
        default_value = "drain"
    )]
    on_exit: OnExit,
    #[command(flatten)]
    pub(super) log: LogArgs,
    /// Make no control socket.
    #[arg(long)]
    no_admin: bool,
}

/// The help of `--admin-socket`.
const SOCKET_HELP: &str = concat!(
    "The path of the control socket; without, it is that of the policy, or ",
    "/run/socketvirt/admin.sock"
);

/// What becomes of the data path at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExit {
    /// It stays on, for the next agent to take over
    Keep,
    /// It is taken away; its connections go on as plain TCP
    Drain,
}

/// What the command line and the policy say together.
struct Config {
    /// When connections are accelerated; none keeps the table alone.
    mode: Option<Mode>,
    cgroup: Option<PathBuf>,
    /// The control socket; none is made without.
    control: Option<control::Options>,
    /// The policy and its text.
    policy: Option<(Policy, String)>,
}

impl Config {
    /// Reads the policy. The command line comes before it.
    fn read(args: &Args) -> Result<Self> {
        let policy = args.config.as_deref().map(Policy::read).transpose()?;
        let of_file = policy.as_ref().map(|(policy, _)| policy);
        let mode = args.mode.map(Mode::from);
        let cgroup = of_file.and_then(|policy| policy.cgroup.as_ref().map(PathBuf::from));
        let path = of_file.and_then(|policy| policy.admin_socket.clone());
        let group = of_file.and_then(|policy| policy.admin_group.clone());
        let control = (!args.no_admin).then(|| control::Options {
            path: args
                .admin_socket
                .clone()
                .or(path)
                .unwrap_or_else(|| SOCKET.into()),
            group: args.admin_group.clone().or(group),
        });
        Ok(Self {
            mode: mode.or(of_file.map(|policy| policy.mode)),
            cgroup: args.cgroup.clone().or(cgroup),
            control,
            policy,
        })
    }
}

/// Works until SIGINT or SIGTERM, or until a part of it fails.
pub fn run(args: &Args) -> Result<ExitCode> {
    // First: a policy that does not check starts nothing.
    let config = Config::read(args)?;
    let signals = ends::signals_of_daemon()?;
    if let Err(error) = capabilities::keep_needed() {
        warn!("capabilities that are not needed could not be given up: {error}");
    }
    let keeper = keep(args)?;
    // Before the data path: what is wrong with it leaves nothing behind.
    let control = config.control.as_ref().map(Control::start).transpose()?;
    if keeper.is_some() {
        tell!("keeping the table at /sys/fs/bpf/socketvirt, until SIGINT or SIGTERM");
    }
    let accelerating = accelerate(args, config)?;
    let started = Arc::new(started(keeper.as_ref(), accelerating.as_ref()));
    if let Some(control) = &control {
        control.begin(Arc::clone(&started));
    }
    let mut manager = Manager::of_environment();
    manager.started(&started);
    let parts = Parts {
        control,
        accelerating,
        keeper,
    };
    let stop = wait(args, &signals, &parts, (&mut manager, &started));
    manager.stops();
    let keeps = match stop {
        Ok(Stop::Asked) => args.on_exit == OnExit::Keep,
        Ok(Stop::Replaced) => true,
        Ok(Stop::Failed) | Err(_) => false,
    };
    let finished = finish(parts, keeps);
    let stats = match (stop?, finished) {
        (Stop::Asked | Stop::Replaced, finished) => finished?,
        (Stop::Failed, Err(error)) => bail!("the agent cannot go on: {error}"),
        (Stop::Failed, Ok(_)) => bail!("the agent cannot go on: {NO_ERROR}"),
    };
    if let Some(stats) = stats {
        tell!(
            "{} sockets found no room, {} closed ones made room, {} events were lost",
            stats.missing,
            stats.evicted,
            stats.lost
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the table, unless that is not wanted.
fn keep(args: &Args) -> Result<Option<Keeper>> {
    if args.no_table {
        return Ok(None);
    }
    let keeper = Keeper::start(&Options {
        rows: args.rows,
        interval: Duration::from_millis(args.table_interval),
    })?;
    Ok(Some(keeper))
}

/// What works until the agent ends.
struct Parts {
    // The control socket goes first: it reads the others.
    control: Option<Control>,
    accelerating: Option<Run>,
    keeper: Option<Keeper>,
}

impl Parts {
    /// Descriptors that poll(2) reports once one of the threads has ended.
    fn ends(&self) -> Vec<BorrowedFd<'_>> {
        let mut ends: Vec<_> = self.keeper.iter().filter_map(Keeper::end).collect();
        ends.extend(self.control.as_ref().map(Control::end));
        ends.extend(self.accelerating.iter().flat_map(Run::ends));
        ends
    }
}

/// What requests may read and change.
fn started(keeper: Option<&Keeper>, accelerating: Option<&Run>) -> Started {
    let on = accelerating.and_then(|run| {
        Some(Accelerating {
            home: run.folder().to_owned(),
            effective: Arc::clone(run.effective()),
            steering: run.steering()?.clone(),
        })
    });
    Started {
        table: keeper.map(|keeper| keeper.folder().to_owned()),
        accelerating: on,
    }
}

/// Starts to accelerate, when that is asked for, and tells what is on.
fn accelerate(args: &Args, config: Config) -> Result<Option<Run>> {
    let Some(mode) = config.mode else {
        return Ok(None);
    };
    let run = Run::start(&run::Options {
        scope: config.cgroup.map_or(Scope::Host, Scope::Cgroup),
        mode,
        policy: config.policy,
        assume: 0,
        interval: Duration::from_millis(args.scan_interval),
    })?;
    tell_start(run.effective());
    Ok(Some(run))
}

/// The reason of the end.
enum Stop {
    /// A signal.
    Asked,
    /// SIGUSR2: another agent comes at once, and takes the data path over.
    Replaced,
    /// A thread has ended, which none does by itself.
    Failed,
}

fn wait(
    args: &Args,
    signals: &SignalFd,
    parts: &Parts,
    (manager, started): (&mut Manager, &Started),
) -> Result<Stop> {
    let threads = parts.ends();
    loop {
        match ends::next(signals, &threads, manager.patience())? {
            Next::Signal(Signal::SIGHUP) => {
                manager.reloads();
                reload(args, parts.accelerating.as_ref());
                manager.reloaded();
            }
            Next::Signal(Signal::SIGUSR2) => return Ok(Stop::Replaced),
            Next::Signal(_) => return Ok(Stop::Asked),
            Next::Ended => return Ok(Stop::Failed),
            Next::Late => {}
        }
        manager.tick(started);
    }
}

fn reload(args: &Args, accelerating: Option<&Run>) {
    if let (Some(file), Some(run)) = (&args.config, accelerating) {
        read_again(file, run);
    } else {
        tell!("SIGHUP: there is nothing to read again, going on; SIGTERM or SIGINT ends the agent");
    }
}

/// Reads the policy again. A file that does not check leaves the one in force.
fn read_again(file: &Path, run: &Run) {
    match apply(file, run) {
        Ok((generation, policy)) => {
            tell!(
                "policy {generation} is in force: {} rules, and the default",
                policy.rules.len()
            );
            if let Some(words) = vouches::shortcoming(policy.assumes()) {
                warn!("{words}");
            }
            if policy.mode == Mode::Eager && config::mode(run.folder()) != Some(Mode::Eager) {
                warn!("eager rules adopt until the agent is started again");
            }
        }
        Err(error) => error!("{error:#}; the policy before is in force still"),
    }
}

fn apply(file: &Path, run: &Run) -> Result<(u32, Policy)> {
    let (policy, text) = Policy::read(file)?;
    let generation = Store::open(run.folder())?.apply(&policy, &text)?;
    Ok((generation, policy))
}

/// Ends all of it. The table comes last, so that it and who follows it see what is
/// released.
fn finish(parts: Parts, keeps: bool) -> Result<Option<TableStats>> {
    let controlled = parts.control.map_or(Ok(()), Control::finish);
    if let Some(accelerating) = parts.accelerating {
        let finished = if keeps {
            accelerating.leave()
        } else {
            accelerating.finish()
        };
        tell_summary(&finished.summary);
        match finished.left {
            Some(left) if keeps => tell!("{left}"),
            Some(left) => warn!("{left}"),
            None => {}
        }
        if let Some(error) = finished.failure {
            return Err(error.into());
        }
    }
    let stats = parts.keeper.map(Keeper::finish).transpose()?;
    controlled?;
    Ok(stats)
}
