//! `socketvirt events`: what happens to sockets, as it happens.

use std::{
    os::fd::AsFd as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::sys::signalfd::SignalFd;

use super::ends;
use crate::{
    output::{self, Printed},
    table::{
        TableError,
        events::{Follower, PAUSE, Shown},
        keeper::{self, Keeper, Options},
    },
    tell,
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
    tell!("following");
    let outcome = follow(args, &mut follower, &mut keeper, &signals);
    if let Some(keeper) = keeper {
        keeper.finish()?;
    }
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the table, unless somebody does.
fn take_over(own: Option<Keeper>) -> Result<Option<Keeper>> {
    let own = match own {
        // Its scans never end by themselves: this gives their error.
        Some(own) if own.has_ended() => {
            own.finish()?;
            None
        }
        own => own,
    };
    if own.is_some() || keeper::kept().is_some() {
        return Ok(own);
    }
    match Keeper::start(&Options::default()) {
        Ok(keeper) => Ok(Some(keeper)),
        // Somebody else was quicker.
        Err(TableError::Kept(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn follow(
    args: &Args,
    follower: &mut Follower,
    keeper: &mut Option<Keeper>,
    signals: &SignalFd,
) -> Result<()> {
    const REFRESH: Duration = Duration::from_secs(1);
    let mut refreshed = Instant::now();
    let mut lost = 0;
    let mut news = Instant::now();
    loop {
        if refreshed.elapsed() >= REFRESH {
            // Whoever kept the table may have ended.
            *keeper = take_over(keeper.take())?;
            follower.refresh()?;
            refreshed = Instant::now();
        }
        let events = follower.read();
        if !events.is_empty() {
            news = Instant::now();
        }
        let text = text(args, &events)?;
        match output::print_unless(&text, signals.as_fd()).context("writing events failed")? {
            Printed::All => {}
            Printed::ReaderGone | Printed::Stopped => return Ok(()),
        }
        if follower.lost() > lost {
            tell!("{} events were lost", follower.lost() - lost);
            lost = follower.lost();
        }
        if !args.follow && news.elapsed() >= REFRESH {
            return Ok(());
        }
        if output::ends_within(PAUSE, Some(signals.as_fd())) {
            return Ok(());
        }
    }
}

fn text(args: &Args, events: &[Shown]) -> Result<String> {
    let mut text = String::new();
    for event in events {
        if args.json {
            text += &serde_json::to_string(event).context("putting an event into JSON failed")?;
        } else {
            text += &event.line();
        }
        text.push('\n');
    }
    Ok(text)
}
