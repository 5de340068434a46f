//! The kernel's own sockets: its NFS server, asked by a program of ours.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use test_support::command;

use super::{Seen, limited::run_limited, socketvirt, summary};
use crate::{checks::EXEC_LIMIT, report::Outcome};

const CONTROL: &str = "/proc/fs/nfsd";
const PORT: u16 = 2049;

/// The time for which connections are made: programs are inspected first, and only then
/// enrolled at the handshake.
const ASKING: Duration = Duration::from_secs(20);
/// Calls on each connection.
const CALLS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the server, below `exec --mode eager`: its sockets belong to the cgroup
/// of who starts it.
pub fn left_alone() -> Result<Seen> {
    if !Path::new("/sys/module/nfsd").exists() {
        return Ok((
            Outcome::Skipped,
            "this kernel has no NFS server here".into(),
        ));
    }
    let file = Path::new("/tmp/nfs.json");
    let mut command = socketvirt();
    command
        .args(["exec", "--mode", "eager", "--summary"])
        .arg(file)
        .arg("--")
        .arg(command::this()?)
        .arg("nfs");
    let ended = run_limited(&mut command, EXEC_LIMIT, |_| Ok(()))?;
    if !ended.succeeded() {
        return Ok((Outcome::Failed, ended.reason()));
    }
    let summary = summary(file)?;
    let left = summary.left_on_stack.get("kernel").copied().unwrap_or(0);
    let detail = format!("{}; kept off for it: {left}", ended.last_line());
    let outcome = if left > 0 {
        Outcome::Works
    } else {
        Outcome::Failed
    };
    Ok((outcome, detail))
}

/// Starts the server and asks it for nothing, on one connection after another.
pub fn ask() -> Result<()> {
    command::run(Command::new("mount").args(["-t", "nfsd", "nfsd", CONTROL]))?;
    // Version 4 needs no other services.
    for (name, text) in [
        ("versions", "-3 +4"),
        ("portlist", &format!("tcp {PORT}")),
        ("threads", "1"),
    ] {
        let path = Path::new(CONTROL).join(name);
        fs::write(&path, format!("{text}\n"))
            .with_context(|| format!("writing {text} to {}", path.display()))?;
    }
    let (start, mut connections) = (Instant::now(), 0);
    while start.elapsed() < ASKING {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).context("connecting")?;
        server
            .set_read_timeout(Some(PATIENCE))
            .context("a time limit")?;
        for call in 0..CALLS {
            null(&mut server, connections * CALLS + call)?;
        }
        connections += 1;
    }
    println!("{connections} connections were answered");
    Ok(())
}

/// A call that does nothing (RFC 5531; RFC 7530, 16.1).
fn null(server: &mut TcpStream, id: u32) -> Result<()> {
    const LAST_FRAGMENT: u32 = 1 << 31;
    // Call, RPC 2, program, version, procedure; no credentials, no verifier.
    let call = [id, 0, 2, 100_003, 4, 0, 0, 0, 0, 0];
    let length = u32::try_from(size_of_val(&call))?;
    let mut bytes = (LAST_FRAGMENT | length).to_be_bytes().to_vec();
    bytes.extend(call.iter().flat_map(|word| word.to_be_bytes()));
    server.write_all(&bytes).context("calling")?;
    // Length, id, reply, accepted, no verifier, success.
    let mut reply = [0; 7 * size_of::<u32>()];
    server.read_exact(&mut reply).context("the reply")?;
    let word = |at: usize| {
        reply[4 * at..]
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    };
    ensure!(
        (word(1), word(2), word(6)) == (Some(id), Some(1), Some(0)),
        "not the reply to call {id}: {reply:?}"
    );
    Ok(())
}
