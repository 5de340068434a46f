//! Bringing a connection into the state under test, and seeing that it is
//! there.
//!
//! A socket tells without harm whether it is enrolled (`gate::enrolled`), and
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
use crate::{gate, net};

/// The states that a scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum State {
    /// Plain TCP.
    Plain,
    /// Plain TCP, by a program that rests before each step.
    Late,
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
            Self::Late => "late",
            Self::Eager => "eager",
            Self::Adopted => "adopted",
            Self::Released => "released",
        }
    }
}

/// Ends what hangs; no machine is that slow.
const PATIENCE: Duration = Duration::from_mins(10);

/// Between two messages, so that the machine has time for others.
const BETWEEN: Duration = Duration::from_millis(2);

/// Larger than every low water mark of a scenario.
const MESSAGE: usize = 300;

/// Bytes of one send of a stream.
const STREAM: usize = 32 << 10;

/// Pairs beside the scenario's that are adopted, or released, in turn before it
/// counts as kept off.
const PILOTS: u32 = 2;

/// Rounds of the first such pair until another one takes its turn, which has
/// twice as many: its port may be one that another scenario has given a bad
/// name.
const PILOT: u32 = 1000;

/// Brings the connection into `state`. Returns why it was kept off, if it was.
pub(super) fn reach(wire: &mut Wire, state: State, table: Option<&str>) -> Result<Option<String>> {
    for _ in 0..3 {
        if !exchange(wire)? {
            return Ok(Some("not idle".to_owned()));
        }
    }
    if matches!(state, State::Plain | State::Late | State::Eager) {
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

/// A pair beside the scenario's: what happens to it shows that there was time
/// enough.
struct Pilot {
    wire: Wire,
    rounds: u32,
    most: u32,
    /// It was adopted, and streams since.
    streams: bool,
}

impl Pilot {
    fn new(most: u32) -> Result<Self> {
        Ok(Self {
            wire: Wire::connected()?,
            rounds: 0,
            most,
            streams: false,
        })
    }

    /// A message each way; another pair when this one had its time.
    fn exchange(&mut self) -> Result<()> {
        exchange(&mut self.wire)?;
        self.rounds += 1;
        if self.rounds > self.most {
            *self = Self::new(2 * self.most)?;
        }
        Ok(())
    }
}

/// Waits until a message each way goes fast; false when others are adopted and
/// this one is not.
fn adopted(wire: &mut Wire) -> Result<bool> {
    let start = Instant::now();
    let mut pilot = Pilot::new(PILOT)?;
    let mut pilots = 0;
    loop {
        ensure!(start.elapsed() < PATIENCE, "nothing is adopted");
        for _ in 0..2 {
            exchange(wire)?;
            pilot.exchange()?;
        }
        if is_fast(wire)? {
            return Ok(true);
        }
        let here = [End::A, End::B].map(|end| enrolled(wire, end));
        if here == [false, false] && is_fast(&mut pilot.wire)? {
            pilots += 1;
            if pilots == PILOTS {
                return Ok(false);
            }
            pilot = Pilot::new(PILOT)?;
        }
        // Between two exchanges a scan finds everything read.
        thread::sleep(BETWEEN);
    }
}

fn enrolled(wire: &Wire, end: End) -> bool {
    wire.raw(end).is_some_and(|fd| gate::enrolled(&fd))
}

/// True when both directions are redirected.
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
/// it cannot be one, as with a small receive buffer, while that of others is.
fn released(wire: &mut Wire) -> Result<bool> {
    let start = Instant::now();
    let here = |wire: &Wire| [End::A, End::B].map(|end| enrolled(wire, end));
    let mut pilot = Pilot::new(PILOT)?;
    let mut pilots = 0;
    while here(wire) != [false, false] {
        ensure!(start.elapsed() < PATIENCE, "nothing is released");
        for _ in 0..8 {
            transfer(wire, End::A, STREAM)?;
        }
        if !pilot.streams {
            pilot.exchange()?;
            pilot.streams = is_fast(&mut pilot.wire)?;
        } else if here(&pilot.wire) == [false, false] {
            pilots += 1;
            if pilots == PILOTS {
                return Ok(false);
            }
            pilot = Pilot::new(PILOT)?;
        } else {
            for _ in 0..8 {
                transfer(&mut pilot.wire, End::A, STREAM)?;
            }
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

/// Returns the reason that the table gives for the stack.
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
