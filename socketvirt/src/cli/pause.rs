//! `socketvirt pause` and `resume`: puts a running agent's pairs on plain TCP, and
//! goes on. An agent that is started again is not paused.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use hyper::Method;
use serde_json::Value;

use crate::{
    agent::{SOCKET, client},
    table::print::page,
    tell,
};

/// The longest wait for pairs to leave the fast path.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

const SECOND: Duration = Duration::from_secs(1);

/// Arguments of `socketvirt pause` and `resume`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The control socket of the agent.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// Pauses, and waits for pairs to leave.
pub fn pause(args: &Args) -> Result<ExitCode> {
    let mut answer = ask(&args.socket, &Method::POST, "/v1/pause")?;
    let pairs = || {
        let status = ask(&args.socket, &Method::GET, "/v1/status")?;
        Ok(status["accelerating"]["enrolled"].as_u64().unwrap_or(0))
    };
    let left = until_none(PATIENCE, pairs, |_| {})?;
    answer["enrolled"] = left.into();
    if args.json {
        page(&format!("{answer}\n"))?;
    } else if left == 0 {
        tell!("paused: all connections are plain TCP; `socketvirt resume` goes on");
    } else {
        tell!(
            "paused: nothing is enrolled any more, {left} pairs are still in use; they leave when \
             nothing is under way, blocking ones when they close"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes on.
pub fn resume(args: &Args) -> Result<ExitCode> {
    let answer = ask(&args.socket, &Method::POST, "/v1/resume")?;
    if args.json {
        page(&format!("{answer}\n"))?;
    } else {
        tell!("resumed: connections are accelerated again once they prove worth it");
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks until nothing is `left`, or `patience` is over; tells each second how much is.
/// Returns that.
pub(super) fn until_none(
    patience: Duration,
    mut left: impl FnMut() -> Result<u64>,
    each_second: impl Fn(u64),
) -> Result<u64> {
    let began = Instant::now();
    let mut told = began;
    loop {
        let now = left()?;
        if now == 0 || began.elapsed() >= patience {
            return Ok(now);
        }
        if told.elapsed() >= SECOND {
            told = Instant::now();
            each_second(now);
        }
        thread::sleep(LOOK);
    }
}

/// Asks the agent for JSON.
pub(super) fn ask(socket: &Path, method: &Method, path: &str) -> Result<Value> {
    let answer = client::ask(socket, method, path, "application/json")?;
    serde_json::from_str(&answer).context("the agent's answer is no JSON")
}
