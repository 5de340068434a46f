//! `socketvirt events`: what happens to sockets, as it happens.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
    sys::signalfd::SignalFd,
};
use std::os::fd::AsFd as _;

use crate::table::{
    events::{Follower, PAUSE, Shown},
    keeper::{self, Keeper, Options},
};

/// Arguments of `socketvirt events`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Go on until SIGINT or SIGTERM; without, stop when there is nothing new
    /// for a second.
    #[arg(long, short)]
    follow: bool,
    /// Print JSON, one event a line.
    #[arg(long)]
    json: bool,
}

/// Prints events. Where no `socketvirt run` keeps the table, it is kept for as
/// long as this command runs.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block().context("blocking signals failed")?;
    let signals = SignalFd::new(&ends).context("making a signal descriptor failed")?;
    let keeper = match keeper::kept() {
        Some(_) => None,
        None => Some(Keeper::start(&Options::default())?),
    };
    let mut follower = Follower::of_agents()?;
    let outcome = follow(args, &mut follower, &signals);
    follower.end()?;
    if let Some(keeper) = keeper {
        keeper.finish()?;
    }
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn follow(args: &Args, follower: &mut Follower, signals: &SignalFd) -> Result<()> {
    const RENEW: Duration = Duration::from_secs(1);
    let mut renewed: Option<Instant> = None;
    let mut lost = 0;
    let mut news = Instant::now();
    loop {
        if renewed.is_none_or(|at| at.elapsed() >= RENEW) {
            follower.renew()?;
            if renewed.is_none() {
                eprintln!("socketvirt: following");
            }
            renewed = Some(Instant::now());
        }
        let events = follower.read();
        if !events.is_empty() {
            news = Instant::now();
        }
        match print(args, &events) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("writing events failed")?,
        }
        let now_lost = follower.lost()?;
        if now_lost > lost {
            eprintln!("socketvirt: {} events were lost", now_lost - lost);
            lost = now_lost;
        }
        if !args.follow && news.elapsed() >= RENEW {
            return Ok(());
        }
        let pause = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, pause).unwrap_or(0) > 0 {
            return Ok(());
        }
    }
}

fn print(args: &Args, events: &[Shown]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        if args.json {
            let line = serde_json::to_string(event).map_err(io::Error::other)?;
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}", event.line())?;
        }
    }
    out.flush()
}
