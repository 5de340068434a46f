//! The end that listens.

use std::{
    collections::HashMap,
    io::{BufRead, Write},
};

use nix::unistd::alarm;

use super::{PATIENCE, connection, echo, endpoint::Listener, flood, port::Port, run_on, usage};
use crate::bench::{
    error::Error,
    options::WorkerArgs,
    wire::{Answer, Lane, Link, Order, Served, Spec, Work},
};

/// The state that a lane keeps.
enum Kept {
    Listener(Listener),
    Port(Port),
}

/// Serves the worker until it closes the link.
pub fn run(input: impl BufRead, output: impl Write, place: &WorkerArgs) -> Result<(), Error> {
    let mut link = Link::new(input, output);
    let mut lanes = HashMap::new();
    while let Some(order) = link.receive()? {
        let answer = match order {
            Order::Listen(lane) => listen(&mut link, lane, place).map(|kept| {
                lanes.insert(lane, kept);
                Answer::Accepted
            }),
            Order::Run(spec) => match lanes.get(&spec.lane) {
                Some(kept) => serve(&mut link, kept, spec).map(Answer::Done),
                None => Err(Error::Protocol(format!("{:?} is not open", spec.lane))),
            },
        };
        match answer {
            Ok(answer) => link.send(&answer)?,
            Err(error) => return link.send(&Answer::Failed(error.to_string())),
        }
    }
    Ok(())
}

fn listen(
    link: &mut Link<impl BufRead, impl Write>,
    lane: Lane,
    place: &WorkerArgs,
) -> Result<Kept, Error> {
    let (listener, address) = Listener::bind(lane, place.ip)?;
    link.send(&Answer::Listening(address))?;
    if lane.work.connects() {
        return Ok(Kept::Listener(listener));
    }
    Port::new(
        listener.accept(lane.work, place.naive)?,
        lane.family,
        lane.calls,
    )
    .map(Kept::Port)
}

fn serve(
    link: &mut Link<impl BufRead, impl Write>,
    kept: &Kept,
    spec: Spec,
) -> Result<Served, Error> {
    run_on(spec.server_cpu)?;
    let stack_bytes = || match kept {
        Kept::Listener(_) => None,
        Kept::Port(port) => port.stack_bytes(),
    };
    let (cpu, stack) = (usage::cpu_us()?, stack_bytes());
    link.send(&Answer::Ready)?;
    // A call that hangs must end the process, not the whole benchmark.
    alarm::set(u32::from(PATIENCE));
    let bytes = match (kept, spec.lane.work) {
        (Kept::Listener(listener), _) => connection::admit(listener, spec.lane, spec.size),
        (Kept::Port(port), Work::Stream) => flood::receive(port),
        (Kept::Port(port), _) => echo::serve(port, spec.size),
    }?;
    alarm::cancel();
    Ok(Served {
        bytes,
        cpu_us: usage::cpu_us()? - cpu,
        stack_bytes: stack_bytes()
            .zip(stack)
            .map(|(now, then)| now.saturating_sub(then)),
    })
}
