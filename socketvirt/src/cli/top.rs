//! `socketvirt top`: the busiest pairs, live.

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use hyper::Method;
use nix::sys::signalfd::SignalFd;
use serde::Serialize;

use super::ends;
use crate::{
    agent::{SOCKET, client, status::Status},
    host::bpffs::PinDir,
    output::{self, Printed},
    policy::homes,
    table::print::Style,
    top::{live, state::State},
    traffic::{
        SCHEMA,
        header::Header,
        look::{self, Looker},
        rates::{Order, Rates, between},
    },
};

/// Arguments of `socketvirt top`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print snapshots, a JSON line each; also without a terminal.
    #[arg(long)]
    json: bool,
    /// The time from one look to the next; longer when looks would take more than a tenth
    /// of one CPU.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    interval: Duration,
    /// Print so many snapshots as JSON, then end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The order of pairs.
    #[arg(long, value_enum, default_value = "bytes")]
    sort: Order,
    /// Only pairs of which a word mentions this: process, address, cgroup, path, reason.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Pairs of a JSON line, at most.
    #[arg(long, value_name = "N", default_value = "100")]
    rows: usize,
    /// The control socket of the agent.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// Shows them.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !look::is_anything_known() {
        bail!(
            "no agent runs on this host, and no table is kept: start `socketvirt run` (with \
             `--mode adopt` to accelerate), or look once with `socketvirt table` or `socketvirt map`"
        );
    }
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let is_screen = is_terminal && !args.json && args.count.is_none();
    // Before any thread is started.
    let signals = if is_screen {
        ends::signals_of_screen()?
    } else {
        ends::signals()?
    };
    let looker = Looker::open()?;
    if is_screen {
        let socket = args.socket.clone();
        let state = State::new(args.sort, &args.filter, args.interval);
        let colour = Style::of_output().colour;
        live::show(state, looker, move || header(&socket), &signals, colour)?;
    } else {
        print(args, looker, &signals)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A snapshot, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    /// Seconds since 1970.
    at: f64,
    #[serde(flatten)]
    header: Header,
    /// The agents whose knowledge is in it.
    agents: &'a [String],
    #[serde(flatten)]
    rates: Rates,
}

/// Prints snapshots until somebody has seen enough.
fn print(args: &Args, mut looker: Looker, signals: &SignalFd) -> Result<()> {
    let mut before = looker.look()?;
    let mut left = args.count;
    while left != Some(0) {
        if output::ends_within(looker.pause(args.interval), Some(signals.as_fd())) {
            return Ok(());
        }
        let after = looker.look()?;
        let mut rates = between(&before, &after);
        rates.sort(args.sort);
        rates.filter(&args.filter);
        rates.shorten(args.rows);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let line = Line {
            schema: SCHEMA,
            at: since.unwrap_or_default().as_secs_f64(),
            header: header(&args.socket),
            agents: &after.agents,
            rates,
        };
        let text = serde_json::to_string(&line).context("putting rates into JSON failed")? + "\n";
        match output::print_unless(&text, signals.as_fd()).context("writing rates failed")? {
            Printed::All => {}
            Printed::ReaderGone | Printed::Stopped => return Ok(()),
        }
        before = after;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// What is on: by the agent, or else by what is pinned.
fn header(socket: &Path) -> Header {
    let asked = client::ask(socket, &Method::GET, "/v1/status", "application/json");
    let status = match asked {
        Ok(answer) => serde_json::from_str(&answer).ok(),
        Err(_) => pinned(),
    };
    status.as_ref().map(Header::of).unwrap_or_default()
}

/// The state that the maps of an agent tell, of `exec` if there is no other one.
fn pinned() -> Option<serde_json::Value> {
    let home = homes::find(None).ok().or_else(|| {
        let pins = PinDir::existing().ok()?.into_iter();
        let mut pins = pins.filter(|pins| pins.path().join("sv_policy").exists());
        Some(pins.next()?.path().to_owned())
    })?;
    serde_json::to_value(Status::of_maps(&home).ok()?).ok()
}

/// A time between a tenth of a second and an hour.
pub fn time(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_hours(1);
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write for example 500ms, 1s, 2m"))?;
    if (LEAST..=MOST).contains(&time) {
        Ok(time)
    } else {
        Err("it must be from 100ms to 1h".to_owned())
    }
}
