//! Bringing a connection into the state under test, and seeing that it is
//! there.
//!
//! A socket tells without harm whether it is enrolled (`sys::enrolled`), and
//! `tcpi_bytes_sent` stands still when a message was redirected.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use nix::errno::Errno;

use super::{
    connect,
    perform::{Task, perform},
    step::{By, Call, End, Opt},
    sys,
    wire::Wire,
};
use crate::workload::net;

/// The states that a scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum State {
    /// Plain TCP.
    Plain,
    /// Enrolled at the handshake.
    Eager,
    /// Enrolled in mid-life.
    Adopted,
    /// Enrolled in mid-life, and on the stack again.
    Released,
}

impl State {
    /// Those that are compared with plain TCP.
    pub const OTHERS: [Self; 3] = [Self::Eager, Self::Adopted, Self::Released];

    /// The word on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Eager => "eager",
            Self::Adopted => "adopted",
            Self::Released => "released",
        }
    }
}

/// Longest time for an adoption or a release.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest stream.
const STREAM: Duration = Duration::from_secs(3);

/// Larger than every low water mark of a scenario.
const MESSAGE: usize = 300;

/// Pairs beside the scenario's that are adopted in turn before it counts as
/// kept off.
const PILOTS: u32 = 2;

/// Longest life of one such pair.
const PILOT: Duration = Duration::from_secs(4);

/// Brings the connection into `state`. Returns why it was kept off, if it was.
pub(super) fn reach(wire: &mut Wire, state: State, table: Option<&str>) -> Result<Option<String>> {
    for _ in 0..3 {
        if !exchange(wire)? {
            return Ok(Some("not idle".to_owned()));
        }
    }
    if matches!(state, State::Plain | State::Eager) {
        return Ok(None);
    }
    if !adopted(wire)? {
        return Ok(Some(reason(wire, table)));
    }
    if state == State::Released && !released(wire)? {
        return Ok(Some("not released".to_owned()));
    }
    Ok(None)
}

/// Uses a connection that no state can be reached with, whose program's are all
/// kept off. Returns why.
pub(super) fn kept_off(wire: &mut Wire, table: Option<&str>) -> Result<Option<String>> {
    exchange(wire)?;
    Ok(table.is_some().then(|| reason(wire, table)))
}

/// Waits until a message each way goes fast; false when others are adopted and
/// this one is not.
fn adopted(wire: &mut Wire) -> Result<bool> {
    let start = Instant::now();
    let mut pilot = Wire::connected()?;
    let mut since = start;
    let mut pilots = 0;
    loop {
        ensure!(start.elapsed() < PATIENCE, "nothing is adopted");
        for _ in 0..2 {
            exchange(wire)?;
            exchange(&mut pilot)?;
        }
        if is_fast(wire)? {
            return Ok(true);
        }
        let here = [End::A, End::B].map(|end| enrolled(wire, end));
        if here == [false, false] && is_fast(&mut pilot)? {
            pilots += 1;
            if pilots == PILOTS {
                return Ok(false);
            }
            (pilot, since) = (Wire::connected()?, Instant::now());
        }
        // Its port may be one that another scenario has given a bad name.
        if since.elapsed() > PILOT {
            (pilot, since) = (Wire::connected()?, Instant::now());
        }
        // Between two exchanges a scan finds everything read.
        thread::sleep(Duration::from_millis(2));
    }
}

fn enrolled(wire: &Wire, end: End) -> bool {
    wire.raw(end).is_some_and(sys::enrolled)
}

/// Whether both directions are redirected.
fn is_fast(wire: &mut Wire) -> Result<bool> {
    if ![End::A, End::B].into_iter().all(|end| enrolled(wire, end)) {
        return Ok(false);
    }
    let sent = |wire: &Wire| [End::A, End::B].map(|end| wire.info(end).map_or(0, |i| i.sent));
    let before = sent(wire);
    exchange(wire)?;
    Ok(sent(wire) == before)
}

/// A stream, which the stack carries better, makes the pair leave; false when
/// it cannot be one, as with a small receive buffer.
fn released(wire: &mut Wire) -> Result<bool> {
    let start = Instant::now();
    while [End::A, End::B].into_iter().any(|end| enrolled(wire, end)) {
        if start.elapsed() > STREAM {
            return Ok(false);
        }
        for _ in 0..8 {
            transfer(wire, End::A, 32 << 10)?;
        }
    }
    let before = wire.info(End::A).map_or(0, |info| info.sent);
    exchange(wire)?;
    let after = wire.info(End::A).map_or(0, |info| info.sent);
    ensure!(after > before, "a released pair is still redirected");
    Ok(true)
}

/// A message each way; false when it cannot be.
fn exchange(wire: &mut Wire) -> Result<bool> {
    Ok(transfer(wire, End::A, MESSAGE)? && transfer(wire, End::B, MESSAGE)?)
}

fn transfer(wire: &mut Wire, from: End, size: usize) -> Result<bool> {
    let to = from.other();
    let (Some(own), Some(peer)) = (wire.raw(from), wire.raw(to)) else {
        return Ok(false);
    };
    let sender = wire.side_mut(from);
    let mut bytes = vec![0; size];
    sender.content.fill(sender.sent, &mut bytes);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length describe `bytes`.
    let sent = sys::of(unsafe { libc::send(own, bytes.as_ptr().cast(), size, flags) });
    let Ok(sent) = sent else { return Ok(false) };
    sender.sent += sent as u64;
    let start = Instant::now();
    let mut got = 0;
    while got < sent {
        ensure!(start.elapsed() < PATIENCE, "a message did not arrive");
        // SAFETY: at most `size - got` bytes are written from `got` on.
        let answer = sys::of(unsafe {
            libc::recv(
                peer,
                bytes[got..].as_mut_ptr().cast(),
                sent - got,
                libc::MSG_DONTWAIT,
            )
        });
        match answer {
            Ok(0) => return Ok(false),
            Ok(n) => got += n,
            Err(Errno::EAGAIN) => {
                let fd = wire.fd(to).context("an end has gone")?;
                let _ = net::wait(fd, libc::POLLIN, 5);
            }
            Err(_) => return Ok(false),
        }
    }
    let verdict = wire.judge(to, &bytes[..sent], true);
    Ok(verdict.ends_with("exact"))
}

/// Why the table says that the connection is on the stack.
fn reason(wire: &Wire, table: Option<&str>) -> String {
    let unknown = || "unknown".to_owned();
    let Some(program) = table else {
        return unknown();
    };
    let port = wire.addr.port().to_string();
    let output = Command::new(program)
        .args(["table", "--json", "--port", &port])
        .output();
    let Ok(output) = output else { return unknown() };
    reasons(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(unknown)
}

/// The reasons of the sockets in a table's JSON that have a peer.
fn reasons(json: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let mut found = Vec::new();
    collect(&value, &mut found);
    // One end's reason is the pair's; the other's is that its peer is off.
    found.retain(|one| !matches!(one.as_str(), "none" | "peer_not_enrolled" | "not_worth"));
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| found.join("+"))
}

fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(reason) = fields.get("reason").and_then(|one| one.as_str()) {
                found.push(reason.to_owned());
            }
            fields.values().for_each(|one| collect(one, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|one| collect(one, found)),
        _ => {}
    }
}

impl Wire {
    /// A connection of two non-blocking sockets.
    fn connected() -> Result<Self> {
        let (listener, addr) = connect::listener(&[])?;
        let mut wire = Self::new(Some(listener), addr)?;
        connect::open(&mut wire)?;
        for end in [End::A, End::B] {
            let fd = wire.raw(end).context("an end")?;
            sys::set(fd, Opt::Nodelay, 1)?;
        }
        Ok(wire)
    }
}

/// A connection whose receiver has got a time stamp. The kernel begins to make
/// them some time after the first socket has asked, and ends after the last;
/// while this is there, each scenario finds them at work.
pub(super) fn stamped() -> Result<impl Sized> {
    let mut wire = Wire::connected()?;
    let (from, to) = (wire.raw(End::A), wire.raw(End::B));
    let (from, to) = (from.context("an end")?, to.context("an end")?);
    sys::set(to, Opt::Timestamp, 1)?;
    let start = Instant::now();
    let task = |fd, call, bytes: &[u8]| Task {
        fd,
        epoll: -1,
        call,
        bytes: bytes.to_vec(),
    };
    loop {
        ensure!(start.elapsed() < PATIENCE, "no time stamp comes");
        perform(&task(from, Call::Send(1, By::Plain, vec![]), b"."));
        wire.side_mut(End::A).sent += 1;
        wire.settle();
        let done = perform(&task(to, Call::Recv(1, By::Msg, vec![]), &[]));
        if done.note.contains("timestamp") {
            return Ok(wire);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
