//! `socketvirt status`: what is accelerated, since when, and what is not and why.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Result;
use clap::Args as ClapArgs;
use hyper::Method;

use crate::{
    agent::{
        SOCKET,
        client::{self, AskError},
        status::Status,
        text,
    },
    policy::homes::{self, NoHome},
    table::print::page,
};

/// Arguments of `socketvirt status`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The control socket of the agent.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Read the pinned maps of this data path, without an agent.
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    home: Option<String>,
    /// Print nothing; end with 0 when an agent answers and its data path works, else with 1
    /// and the reason. For probes.
    #[arg(long, conflicts_with_all = ["home", "json"])]
    check: bool,
}

/// Shows it.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.check {
        client::ask(&args.socket, &Method::GET, "/healthz", "text/plain")?;
        return Ok(ExitCode::SUCCESS);
    }
    let kind = if args.json {
        "application/json"
    } else {
        "text/plain"
    };
    let asked = match args.home {
        Some(_) => Err(AskError::NoAgent(args.socket.clone())),
        None => client::ask(&args.socket, &Method::GET, "/v1/status", kind),
    };
    let shown = match asked {
        Err(AskError::NoAgent(socket)) => {
            let home = match homes::find(args.home.as_deref()) {
                Err(NoHome::None) => return Err(AskError::NoAgent(socket).into()),
                found => found?,
            };
            let status = Status::of_maps(&home)?;
            if args.json {
                serde_json::to_string(&status)? + "\n"
            } else {
                text::render(&status, SystemTime::now())
            }
        }
        asked => asked?,
    };
    page(&shown)?;
    Ok(ExitCode::SUCCESS)
}
