//! `socketvirt show`: one socket, every field, its peer beside it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use nix::time::{ClockId, clock_gettime};

use crate::table::{
    print, show,
    source::{Namespaces, Source},
    view::{Socket, Table},
};

/// Arguments of `socketvirt show`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The id of a row, or a port.
    #[arg(value_name = "ID|PORT", required = true)]
    which: Vec<u64>,
    /// Print JSON: the socket and its peer.
    #[arg(long)]
    json: bool,
}

/// Prints the sockets.
pub fn run(args: &Args) -> Result<ExitCode> {
    let table = Table::read(&Source::open()?, &Namespaces::All)?;
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let now = u64::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for which in &args.which {
        let found = find(&table, *which);
        if found.is_empty() {
            bail!("no socket has the id or the port {which}; `socketvirt table` lists them");
        }
        for socket in found {
            let peer = socket.remote.id.and_then(|id| table.get(id));
            if args.json {
                let both = serde_json::json!({
                    "schema": crate::table::SCHEMA,
                    "socket": socket,
                    "peer": peer,
                });
                text.push_str(&both.to_string());
            } else {
                text.push_str(&show::render(socket, peer, now));
            }
            text.push('\n');
        }
    }
    print::page(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The row of this id, or those with this own port.
fn find(table: &Table, which: u64) -> Vec<&Socket> {
    match table.get(which) {
        Some(socket) => vec![socket],
        None => table
            .sockets
            .iter()
            .filter(|socket| which != 0 && u64::from(socket.local.port) == which)
            .collect(),
    }
}
