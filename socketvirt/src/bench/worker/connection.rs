//! Connection set-up: connect, accept, close, with or without one request.

use std::time::{Duration, Instant};

use super::{
    BODY, LAST,
    echo::Trips,
    endpoint::{Listener, Target, connect},
    port::Port,
};
use crate::bench::{
    error::Error,
    wire::{Lane, Work},
};

/// Connects and closes until the time is over; the time of each connection.
///
/// Each waits until the peer has accepted and answered: a client that only
/// connects overruns the listener's queue, and then measures SYN timeouts.
pub fn knock(target: &Target, lane: Lane, size: usize, duration: Duration) -> Result<Trips, Error> {
    let open = || Port::new(connect(target, lane.work, None)?, lane.family, lane.calls);
    let message = vec![BODY; size];
    let mut reply = vec![0; size];
    let mut nanos = Vec::with_capacity(1 << 14);
    let start = Instant::now();
    let mut before = start;
    while before - start < duration {
        let port = open()?;
        if lane.work == Work::Request {
            port.send_all(&message)?;
            port.receive_exact(&mut reply)?;
        } else {
            port.finish()?;
            while port.receive(&mut reply)? > 0 {}
        }
        drop(port);
        let after = Instant::now();
        nanos.push(u32::try_from((after - before).as_nanos()).unwrap_or(u32::MAX));
        before = after;
    }
    open()?.send_all(&[LAST])?;
    Ok(Trips {
        nanos,
        elapsed: before - start,
    })
}

/// Accepts until the mark; the number of bytes received.
pub fn admit(listener: &Listener, lane: Lane, size: usize) -> Result<u64, Error> {
    let mut message = vec![0; size.max(1)];
    let mut bytes = 0;
    loop {
        let port = Port::new(listener.accept(lane.work, None)?, lane.family, lane.calls)?;
        // One send is one segment here (requests are small), so it is read whole.
        let mut received = port.receive(&mut message)?;
        while received > 0 {
            if message.first() == Some(&LAST) {
                return Ok(bytes);
            }
            bytes += received as u64;
            port.send_all(message.get(..received).unwrap_or_default())?;
            received = port.receive(&mut message)?;
        }
    }
}
