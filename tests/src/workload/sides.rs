//! The two sides of a run, each in a process and a namespace of its own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork, pipe},
};

use super::watchdog;
use crate::{net, place::Place};

/// Opens the listener in the server's namespace.
pub(crate) fn listener(place: &Place) -> Result<(OwnedFd, SocketAddr)> {
    net::enter(place.server_netns.as_ref())?;
    let listener = net::open_listener(place)?;
    let addr = net::local_address(listener.as_fd())?;
    Ok((listener, addr))
}

/// Runs the server in a child process and the client in this one.
pub(crate) fn two_processes(
    place: &Place,
    deadline: u64,
    serve: impl FnOnce(OwnedFd) -> Result<()>,
    call: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let (read_end, write_end) = pipe().context("pipe")?;
    // SAFETY: no thread has been started in this process yet, so the child
    // may go on like any program.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            drop(read_end);
            let code = match child(place, deadline, write_end, serve) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("workload: FAIL {error:#}");
                    1
                }
            };
            std::process::exit(code)
        }
        ForkResult::Parent { child } => {
            drop(write_end);
            watchdog::start("client", deadline);
            let mut text = String::new();
            File::from(read_end)
                .read_to_string(&mut text)
                .context("the server's address")?;
            let result = text
                .parse()
                .context("the server did not start")
                .and_then(|addr| net::enter(place.client_netns.as_ref()).map(|()| addr))
                .and_then(call);
            if result.is_err() {
                // The server may be the cause and about to say so.
                thread::sleep(Duration::from_millis(500));
                let _ = kill(child, Signal::SIGTERM);
            }
            let status = waitpid(child, None).context("wait for the server")?;
            result?;
            match status {
                WaitStatus::Exited(_, 0) => Ok(()),
                other => bail!("the server ended with {other:?}"),
            }
        }
    }
}

fn child(
    place: &Place,
    deadline: u64,
    address: OwnedFd,
    serve: impl FnOnce(OwnedFd) -> Result<()>,
) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")?;
    watchdog::start("server", deadline.saturating_sub(1).max(1));
    let (listener, addr) = listener(place)?;
    let text = addr.to_string();
    let written = File::from(address)
        .write(text.as_bytes())
        .context("tell the address")?;
    ensure!(written == text.len(), "tell the address: short write");
    serve(listener)
}
