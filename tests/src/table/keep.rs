//! A table that is kept, for as long as a test needs it.

use std::{net::TcpStream, process::Command, time::Duration};

use nix::sys::{
    signal::Signal,
    socket::{setsockopt, sockopt},
};
use serde_json::Value;

use super::{only, table};
use crate::{
    process::{Process, until},
    run::binary,
    session,
};

/// Where the rows are.
pub const PINS: &str = "/sys/fs/bpf/socketvirt/sv_sockets";

/// Ends what hangs; no machine is that slow.
pub const PATIENCE: Duration = crate::process::PATIENCE;

/// `socketvirt run`, which has scanned once when this returns.
#[must_use]
pub fn keep(args: &str) -> Process {
    start(args, "keeping the table")
}

/// `socketvirt run` with a mode, which accelerates when this returns.
#[must_use]
pub fn accelerate(args: &str) -> Process {
    start(args, "accelerating")
}

fn start(args: &str, says: &str) -> Process {
    let mut command = Command::new(binary());
    command.arg("run").args(args.split_whitespace());
    let mut keeper = Process::start(&mut command);
    session::started(keeper.pid());
    until("`socketvirt run` is ready", || {
        let ended = keeper.wait(Duration::ZERO);
        assert!(ended.is_none(), "it ended: {}", keeper.stderr());
        keeper.stderr().contains(says)
    });
    keeper
}

/// Ends it; gives what it said.
pub fn end(mut keeper: Process) -> String {
    keeper.signal(Signal::SIGINT);
    let ended = keeper.finish(PATIENCE);
    ended.success();
    ended.stderr.clone()
}

/// `socketvirt events --follow --json`, which follows when this returns.
#[must_use]
pub fn follow() -> Process {
    let mut command = Command::new(binary());
    command.args(["events", "--follow", "--json"]);
    let follower = Process::start(&mut command);
    until("events are followed", || {
        follower.stderr().contains("following")
    });
    follower
}

/// The events that were printed so far.
pub fn events(follower: &Process) -> Vec<Value> {
    let text = follower.stdout();
    // The last line may not be complete yet.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// The id of a socket of ours.
pub fn cookie(fd: &impl std::os::fd::AsRawFd) -> u64 {
    let (mut cookie, mut size) = (0_u64, 8);
    // SAFETY: room for the cookie, as large as is said.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    assert_eq!(answer, 0, "SO_COOKIE");
    cookie
}

/// The row of this id.
#[track_caller]
pub fn row(id: u64) -> Value {
    let rows = table("--netns all");
    only(&rows, &format!("socket {id}"), |row| row["id"] == id)
}

/// The statuses that a socket went through, as an agent saw them.
#[track_caller]
pub fn life(id: u64) -> Vec<String> {
    let row = row(id);
    let steps = row["history"].as_array().expect("a history");
    steps
        .iter()
        .map(|step| step["status"].as_str().expect("a word").to_owned())
        .collect()
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &linger).expect("linger");
    drop(stream);
}
