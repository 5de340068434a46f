//! `socketvirt drain`: puts every connection of the host on plain TCP. Of an agent that
//! runs, that is a pause that waits; what an agent that is gone has left is taken away.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Args as ClapArgs;
use hyper::Method;
use serde_json::json;

use super::pause::{ask, until_none};
use crate::{
    agent::{SOCKET, client::AskError},
    bpf::object,
    datapath::{
        home::{self, HomeError},
        leftovers, takeover,
        tiers::Tiers,
    },
    host::bpffs::PinDir,
    table::{
        keeper,
        print::{end, page},
        source::{Namespaces, Source},
        view::{Socket, Table},
    },
    tell,
};

/// Arguments of `socketvirt drain`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Seconds to wait for sockets that are in use.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The control socket of the agent.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// What is enrolled still.
struct Left {
    enrolled: u64,
    /// Those that are known, and their peers.
    sockets: Vec<u64>,
    /// What the operator has to know of the outcome.
    words: String,
}

/// Drains.
pub fn run(args: &Args) -> Result<ExitCode> {
    let patience = Duration::from_secs(args.timeout);
    let left = match ask(&args.socket, &Method::POST, "/v1/pause") {
        // Or one that keeps the table alone.
        Err(error)
            if matches!(
                error.downcast_ref(),
                Some(AskError::NoAgent(_) | AskError::Refused(_))
            ) =>
        {
            of_nobody(patience)?
        }
        paused => {
            paused?;
            of_agent(args, patience)?
        }
    };
    let sockets = if left.sockets.is_empty() {
        Vec::new()
    } else {
        let table = Table::read(&Source::open()?, &Namespaces::All)?;
        let is_left = |socket: &Socket| left.sockets.contains(&socket.id);
        table.sockets.into_iter().filter(is_left).collect()
    };
    if args.json {
        let shown = json!({ "schema": 1, "enrolled": left.enrolled, "sockets": sockets });
        page(&format!("{shown}\n"))?;
    }
    tell!("{}", left.words);
    if left.enrolled == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        for socket in &sockets {
            tell!("{}", line(socket));
        }
    }
    Ok(ExitCode::FAILURE)
}

/// Waits for the agent, which is paused and goes on so.
fn of_agent(args: &Args, patience: Duration) -> Result<Left> {
    let home = || -> Result<Option<PinDir>> {
        let status = ask(&args.socket, &Method::GET, "/v1/status")?;
        let name = status["accelerating"]["home"].as_str();
        Ok(name.and_then(home_of))
    };
    let sockets = || Ok(home()?.map_or(0, |pins| enrolled(pins.path())));
    let left = until_none(patience, sockets, progress)?;
    if left == 0 {
        let words = "drained: all connections are plain TCP, and the agent is paused; \
                     `socketvirt resume` goes on";
        return Ok(Left::nothing(words));
    }
    let tiers = home()?.and_then(|pins| Tiers::open(pins.path()).ok());
    Ok(Left {
        enrolled: left,
        sockets: tiers.map_or_else(Vec::new, |tiers| tiers.enrolled_sockets()),
        words: format!("{}; the agent stays paused", in_use(left)),
    })
}

/// Number of enrolled sockets of a data path.
fn enrolled(folder: &Path) -> u64 {
    home::enrolled(&folder.join(home::FAST)) as u64
}

/// The folder of a running agent.
fn home_of(name: &str) -> Option<PinDir> {
    let all = PinDir::existing().unwrap_or_default();
    all.into_iter().find(|pins| pins.name() == name)
}

/// Takes away what agents that are gone have left.
fn of_nobody(patience: Duration) -> Result<Left> {
    leftovers::clear();
    keeper::clear();
    let Some(pins) = takeover::of_host().map_err(HomeError::from)? else {
        return Ok(Left::nothing(
            "no agent runs, and none has left a data path",
        ));
    };
    let folder = pins.path();
    let (sockets, known) = if object::is_understood(folder) {
        let left = leftovers::drain_within(folder, patience, |left| progress(left as u64))?;
        (left, "")
    } else {
        let words = "; it is of another build, which has to release them: \
                     run the `drain` of that one, or close them";
        (Vec::new(), words)
    };
    if home::take_away_pins(&pins)?.is_none() {
        let words = "drained: all connections are plain TCP, and the data path is gone";
        return Ok(Left::nothing(words));
    }
    let left = enrolled(folder);
    Ok(Left {
        enrolled: left,
        sockets,
        words: format!("{}; the data path stays{known}", in_use(left)),
    })
}

impl Left {
    fn nothing(words: &str) -> Self {
        Self {
            enrolled: 0,
            sockets: Vec::new(),
            words: words.to_owned(),
        }
    }
}

fn progress(enrolled: u64) {
    tell!("{enrolled} sockets are in use still");
}

fn in_use(enrolled: u64) -> String {
    format!(
        "{enrolled} sockets are in use still: they leave when nothing is under way, blocking ones \
         when they close"
    )
}

/// A socket that stays: whose it is, and its connection.
fn line(socket: &Socket) -> String {
    let owner = match (&socket.owner.command, socket.owner.pid) {
        (Some(command), Some(pid)) => format!("{command} (pid {pid})"),
        _ => "nobody".to_owned(),
    };
    let (local, remote) = (&socket.local, &socket.remote);
    format!(
        "  {owner}: {} to {}",
        end(&local.name, local.port, socket.local.family),
        end(&remote.name, remote.port, socket.local.family),
    )
}
