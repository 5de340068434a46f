//! The socket table, compared with sockets of our own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{Seen, limited::run_limited, socketvirt};
use crate::{checks::TABLE_LIMIT, report::Outcome};

#[derive(Deserialize)]
struct Table {
    sockets: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    status: String,
    local: Local,
    remote: Remote,
}

#[derive(Deserialize)]
struct Local {
    port: u32,
}

#[derive(Deserialize)]
struct Remote {
    port: u32,
    id: Option<u64>,
}

/// A listener and a connection, as rows, each end with the other beside it.
pub fn table() -> Result<Seen> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening")?;
    let server = listener.local_addr().context("the own address")?;
    let connection = TcpStream::connect(server).context("connecting")?;
    let (accepted, client) = listener.accept().context("accepting")?;

    let text = output(&["table"])?;
    ensure!(
        text.iter()
            .any(|line| line.contains("LISTENING") && line.contains(&format!(":{}", server.port()))),
        "`socketvirt table` shows no listener on port {}",
        server.port()
    );
    let json = output(&["table", "--json"])?;
    let json = json.iter().find(|line| line.starts_with('{'));
    let json = json.context("`socketvirt table --json` printed no JSON")?;
    let table: Table = serde_json::from_str(json).context("reading `table --json`")?;
    judge(&table.sockets, server.port().into(), client.port().into())?;
    drop((connection, accepted));
    Ok((
        Outcome::Works,
        format!(
            "{} rows; listener, connection and its two ends are there",
            table.sockets.len()
        ),
    ))
}

fn judge(rows: &[Row], server: u32, client: u32) -> Result<()> {
    let find = |local: u32, remote: u32| {
        rows.iter()
            .find(|row| row.local.port == local && row.remote.port == remote)
            .with_context(|| format!("no row from port {local} to {remote}"))
    };
    let listener = find(server, 0)?;
    if listener.status != "LISTENING" {
        bail!("the listener is {}", listener.status);
    }
    let (one, other) = (find(client, server)?, find(server, client)?);
    for (end, peer) in [(one, other), (other, one)] {
        ensure!(end.status == "CONNECTED", "an end is {}", end.status);
        ensure!(
            end.remote.id == Some(peer.id),
            "the other end of row {} is {:?} and not {}",
            end.id,
            end.remote.id,
            peer.id
        );
    }
    Ok(())
}

fn output(arguments: &[&str]) -> Result<Vec<String>> {
    let ended = run_limited(socketvirt().args(arguments), TABLE_LIMIT / 2, |_| Ok(()))?;
    ensure!(ended.succeeded(), "{}", ended.reason());
    Ok(ended.lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, status: &str, local: u32, remote: u32, peer: Option<u64>) -> Row {
        Row {
            id,
            status: status.into(),
            local: Local { port: local },
            remote: Remote {
                port: remote,
                id: peer,
            },
        }
    }

    #[test]
    fn both_ends_have_to_name_each_other() {
        let listener = || row(1, "LISTENING", 80, 0, None);
        let ends = |peer| {
            [
                listener(),
                row(2, "CONNECTED", 4711, 80, Some(3)),
                row(3, "CONNECTED", 80, 4711, peer),
            ]
        };
        judge(&ends(Some(2)), 80, 4711).unwrap();
        judge(&ends(None), 80, 4711).unwrap_err();
        judge(&ends(Some(7)), 80, 4711).unwrap_err();
        judge(&[listener()], 80, 4711).unwrap_err();
    }
}
