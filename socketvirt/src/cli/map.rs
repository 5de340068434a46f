//! `socketvirt map`: who talks to whom on this host.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::sys::signalfd::SignalFd;
use serde::Serialize;

use super::{ends, top::time};
use crate::{
    map::{self, Drawn},
    output,
    table::print::{Style, page},
    tell,
    traffic::{
        SCHEMA,
        groups::{self, Groups},
        look::Looker,
        rates::{Elsewhere, Totals, between},
    },
};

/// Programs of the JSON, at most.
const MOST: usize = 1000;

/// Arguments of `socketvirt map`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Draw it into this SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The time that is watched.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = time)]
    time: Duration,
}

/// The JSON.
#[derive(Serialize)]
struct Map<'a> {
    schema: u32,
    host: &'a str,
    over_seconds: f64,
    totals: Totals,
    elsewhere: Elsewhere,
    #[serde(flatten)]
    groups: Groups,
}

/// Shows it.
pub fn run(args: &Args) -> Result<ExitCode> {
    // Before any thread is started.
    let signals = ends::signals()?;
    let mut looker = Looker::open()?;
    if args.time > Duration::from_secs(1) {
        tell!("watching for {}", humantime::format_duration(args.time));
    }
    let Some(drawn) = watch(&mut looker, args.time, &signals)? else {
        return Ok(ExitCode::FAILURE);
    };
    let seconds = drawn.rates.over_seconds;
    if args.json {
        let map = Map {
            schema: SCHEMA,
            host: &drawn.host,
            over_seconds: seconds,
            totals: drawn.rates.totals,
            elsewhere: drawn.rates.elsewhere,
            groups: drawn.groups.at_most(MOST, seconds),
        };
        let text = serde_json::to_string(&map).context("putting the map into JSON failed")?;
        let _printed = output::print(&(text + "\n")).context("writing the map failed")?;
    }
    let short = Drawn {
        groups: drawn.groups.at_most(map::NODES, seconds),
        ..drawn
    };
    match &args.svg {
        Some(file) => draw(&short, file)?,
        None if !args.json => {
            let text = map::text::render(&short, Style::of_output().colour);
            page(&text).context("writing the map failed")?;
        }
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(drawn: &Drawn, file: &Path) -> Result<()> {
    let picture = map::svg::render(drawn);
    fs::write(file, picture).with_context(|| format!("writing {} failed", file.display()))?;
    tell!("drawn into {}: {}", file.display(), drawn.summary());
    Ok(())
}

/// Looks each second for so long, so that connections that end meanwhile are seen, too.
/// `None` when a signal came first.
fn watch(looker: &mut Looker, time: Duration, signals: &SignalFd) -> Result<Option<Drawn>> {
    let first = looker.look()?;
    let (began, mut last) = (first.at, first.clone());
    loop {
        let left = (began + time).saturating_sub(last.at);
        if left.is_zero() {
            break;
        }
        let pause = looker.pause(left.min(Duration::from_secs(1)));
        if output::ends_within(pause, Some(signals.as_fd())) {
            return Ok(None);
        }
        let mut next = looker.look()?;
        next.keep_ended(last);
        last = next;
    }
    let rates = between(&first, &last);
    let groups = groups::of(&rates);
    Ok(Some(Drawn {
        host: fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        programs: groups.nodes.len(),
        groups,
        rates,
    }))
}
