//! The processes that are measured.
//!
//! [`client::run`] and [`peer::run`] are the two ends. They are processes, not
//! threads, because that is what talks over sockets in practice: a switch
//! between them changes the address space.

mod client;
mod connection;
mod echo;
mod endpoint;
mod flood;
mod peer;
mod port;
mod usage;

use std::{fs::File, io, path::Path};

use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::Pid,
};

pub use self::port::stack_bytes;
use super::{error::Error, options::WorkerArgs};

/// First byte of the last message of a measurement. It travels on the
/// connection itself, so the end needs no second channel to wake up on.
const LAST: u8 = 0xff;

/// Fills every other message.
const BODY: u8 = 0x5a;

/// Seconds after which a measurement that should have ended is a hung call.
pub const PATIENCE: u16 = 10;

/// Serves standard input until it closes.
///
/// # Errors
/// When the namespace cannot be entered, or the link breaks.
pub fn run(args: &WorkerArgs) -> Result<(), Error> {
    let (stdin, stdout) = (io::stdin().lock(), io::stdout().lock());
    if args.peer {
        // A worker that is killed takes its peer along.
        set_pdeathsig(Signal::SIGKILL).map_err(Error::call("prctl(PR_SET_PDEATHSIG)"))?;
        enter(args.server_netns.as_deref())?;
        peer::run(stdin, stdout, args)
    } else {
        enter(args.client_netns.as_deref())?;
        client::run(stdin, stdout, args)
    }
}

fn enter(namespace: Option<&Path>) -> Result<(), Error> {
    let Some(path) = namespace else { return Ok(()) };
    let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(Error::call("setns"))
}

fn run_on(cpu: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(Error::call("sched_setaffinity"))
}
