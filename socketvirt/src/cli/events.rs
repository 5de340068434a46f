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
    sys::signalfd::SignalFd,
};
use std::os::fd::AsFd as _;

use super::ends;
use crate::table::{
    TableError,
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
    let signals = ends::signals()?;
    let mut keeper = take_over(None)?;
    let mut follower = Follower::of_agents()?;
    eprintln!("socketvirt: following");
    let outcome = follow(args, &mut follower, &mut keeper, &signals);
    if let Some(keeper) = keeper {
        keeper.finish()?;
    }
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the table, unless somebody does.
fn take_over(own: Option<Keeper>) -> Result<Option<Keeper>> {
    if own.is_some() || keeper::kept().is_some() {
        return Ok(own);
    }
    match Keeper::start(&Options::default()) {
        Ok(keeper) => Ok(Some(keeper)),
        // Somebody else was quicker.
        Err(TableError::Kept) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn follow(
    args: &Args,
    follower: &mut Follower,
    keeper: &mut Option<Keeper>,
    signals: &SignalFd,
) -> Result<()> {
    const LOOK: Duration = Duration::from_secs(1);
    let mut looked = Instant::now();
    let mut lost = 0;
    let mut news = Instant::now();
    loop {
        if looked.elapsed() >= LOOK {
            // Whoever kept the table may have ended.
            *keeper = take_over(keeper.take())?;
            follower.refresh()?;
            looked = Instant::now();
        }
        let events = follower.read();
        if !events.is_empty() {
            news = Instant::now();
        }
        match print(args, &events) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("writing events failed")?,
        }
        if follower.lost() > lost {
            eprintln!("socketvirt: {} events were lost", follower.lost() - lost);
            lost = follower.lost();
        }
        if !args.follow && news.elapsed() >= LOOK {
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
