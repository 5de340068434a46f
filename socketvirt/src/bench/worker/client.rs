//! The end that connects, and keeps the figures.

use std::{
    collections::{HashMap, hash_map::Entry},
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::unistd::alarm;

use super::{
    PATIENCE, connection, echo,
    endpoint::{Target, connect},
    flood,
    port::Port,
    run_on, usage,
};
use crate::bench::{
    error::Error,
    options::WorkerArgs,
    stats::{self, float},
    wire::{Answer, Lane, Link, Order, Reply, Request, Sample, Served, Spec, Work},
};

/// The state that a lane keeps.
enum Kept {
    Target(Target),
    Port(Port),
}

/// The measurements of the client's own loop.
struct Driven {
    messages: u64,
    elapsed: Duration,
    nanos: Vec<u32>,
}

/// Serves the benchmark until it closes the link.
pub fn run(input: impl BufRead, output: impl Write, place: &WorkerArgs) -> Result<(), Error> {
    let mut link = Link::new(input, output);
    let mut peer = Peer::start(place)?;
    let mut lanes = HashMap::new();
    while let Some(request) = link.receive()? {
        let reply = match request {
            Request::Hello => Ok(Reply::Hello),
            Request::Measure(spec) => {
                let patience = Duration::from_millis(spec.millis).as_secs();
                alarm::set(u32::from(PATIENCE) + u32::try_from(patience).unwrap_or(u32::MAX / 2));
                let sample = measure(&mut peer, &mut lanes, spec, place.naive).map(Reply::Sample);
                alarm::cancel();
                sample
            }
        };
        match reply {
            Ok(reply) => link.send(&reply)?,
            Err(error) => {
                link.send(&Reply::Failed(error.to_string()))?;
                break;
            }
        }
    }
    // The kept connections close first: that ends a peer that still reads.
    drop(lanes);
    peer.stop()
}

fn measure(
    peer: &mut Peer,
    lanes: &mut HashMap<Lane, Kept>,
    spec: Spec,
    naive: Option<u32>,
) -> Result<Sample, Error> {
    let kept = match lanes.entry(spec.lane) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(open(peer, spec.lane, naive)?),
    };
    run_on(spec.client_cpu)?;
    let stack = stack_bytes(kept);
    peer.tell(&Order::Run(spec), |answer| {
        matches!(answer, Answer::Ready).then_some(())
    })?;
    let cpu = usage::cpu_us()?;
    let driven = drive(kept, spec)?;
    let cpu = usage::cpu_us()? - cpu;
    let served = peer.hear(|answer| match answer {
        Answer::Done(served) => Some(served),
        _ => None,
    })?;
    let stack = stack_bytes(kept)
        .zip(stack)
        .map(|(now, then)| now.saturating_sub(then));
    Ok(sample(driven, &served, cpu, stack, spec))
}

fn open(peer: &mut Peer, lane: Lane, naive: Option<u32>) -> Result<Kept, Error> {
    let address = peer.tell(&Order::Listen(lane), |answer| match answer {
        Answer::Listening(address) => Some(address),
        _ => None,
    })?;
    let target = Target::new(address)?;
    let kept = if lane.work.connects() {
        Kept::Target(target)
    } else {
        Kept::Port(Port::new(
            connect(&target, lane.work, naive)?,
            lane.family,
            lane.calls,
        )?)
    };
    peer.hear(|answer| matches!(answer, Answer::Accepted).then_some(kept))
}

fn drive(kept: &Kept, spec: Spec) -> Result<Driven, Error> {
    let duration = Duration::from_millis(spec.millis);
    let trips = match kept {
        Kept::Target(target) => connection::knock(target, spec.lane, spec.size, duration)?,
        Kept::Port(port) if spec.lane.work == Work::Stream => {
            let (messages, elapsed) = flood::send(port, spec.size, duration)?;
            return Ok(Driven {
                messages,
                elapsed,
                nanos: Vec::new(),
            });
        }
        Kept::Port(port) => echo::ask(port, spec.size, duration)?,
    };
    Ok(Driven {
        messages: trips.nanos.len() as u64,
        elapsed: trips.elapsed,
        nanos: trips.nanos,
    })
}

fn sample(
    mut driven: Driven,
    served: &Served,
    cpu_us: f64,
    stack_bytes: Option<u64>,
    spec: Spec,
) -> Sample {
    driven.nanos.sort_unstable();
    let micros =
        |share| stats::percentile(&driven.nanos, share).map(|nanos| f64::from(nanos) / 1e3);
    let ways = if spec.lane.work == Work::Stream { 1 } else { 2 };
    Sample {
        messages: driven.messages,
        bytes: served.bytes * ways,
        seconds: driven.elapsed.as_secs_f64(),
        p50_us: micros(0.50),
        p99_us: micros(0.99),
        cpu_us: (cpu_us + served.cpu_us) / float(driven.messages.max(1)),
        stack_bytes: stack_bytes
            .zip(served.stack_bytes)
            .map(|(ours, theirs)| ours + theirs),
    }
}

fn stack_bytes(kept: &Kept) -> Option<u64> {
    match kept {
        Kept::Target(_) => None,
        Kept::Port(port) => port.stack_bytes(),
    }
}

/// The other process.
struct Peer {
    child: Child,
    link: Link<BufReader<ChildStdout>, ChildStdin>,
}

impl Peer {
    /// Starts this binary once more, as the end that listens.
    fn start(place: &WorkerArgs) -> Result<Self, Error> {
        let attempt = "start the peer process";
        let binary = env::current_exe().map_err(Error::io(attempt))?;
        let mut command = Command::new(binary);
        command
            .args(["bench-worker", "--peer", "--ip"])
            .arg(place.ip.to_string());
        if let Some(namespace) = &place.server_netns {
            command.arg("--server-netns").arg(namespace);
        }
        if let Some(map) = place.naive {
            command.arg("--naive").arg(map.to_string());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io(attempt))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self {
                child,
                link: Link::new(BufReader::new(output), input),
            }),
            _ => Err(Error::Ended("the peer process", String::new())),
        }
    }

    /// Gives an order and takes the answer that `choose` accepts.
    fn tell<T>(
        &mut self,
        order: &Order,
        choose: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Error> {
        self.link.send(order)?;
        self.hear(choose)
    }

    fn hear<T>(&mut self, choose: impl FnOnce(Answer) -> Option<T>) -> Result<T, Error> {
        match self.link.receive()? {
            None => Err(Error::Ended("the peer process", String::new())),
            Some(Answer::Failed(failure)) => Err(Error::Worker(format!("peer: {failure}"))),
            Some(answer) => choose(answer)
                .ok_or_else(|| Error::Protocol("the peer answered out of turn".to_owned())),
        }
    }

    fn stop(self) -> Result<(), Error> {
        let Self { mut child, link } = self;
        drop(link.close());
        child
            .wait()
            .map(drop)
            .map_err(Error::io("wait for the peer process"))
    }
}
