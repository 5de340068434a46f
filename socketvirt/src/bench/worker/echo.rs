//! Round trips: a message there, the same message back.

use std::time::{Duration, Instant};

use super::{BODY, LAST, port::Port};
use crate::bench::error::Error;

/// The client's side of one measurement.
#[derive(Debug)]
pub struct Trips {
    /// Nanoseconds of each round trip or connection.
    pub nanos: Vec<u32>,
    /// From the beginning of the first to the end of the last.
    pub elapsed: Duration,
}

/// Sends and awaits replies until the time is over.
pub fn ask(port: &Port, size: usize, duration: Duration) -> Result<Trips, Error> {
    let mut message = vec![BODY; size];
    let mut reply = vec![0; size];
    let mut nanos = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    let mut before = start;
    while before - start < duration {
        port.send_all(&message)?;
        port.receive_exact(&mut reply)?;
        let after = Instant::now();
        nanos.push(u32::try_from((after - before).as_nanos()).unwrap_or(u32::MAX));
        before = after;
    }
    if let Some(first) = message.first_mut() {
        *first = LAST;
    }
    port.send_all(&message)?;
    port.receive_exact(&mut reply)?;
    if message != reply {
        return Err(Error::Corrupt { size });
    }
    Ok(Trips {
        nanos,
        elapsed: before - start,
    })
}

/// Returns every message until the last one; the number of bytes returned.
pub fn serve(port: &Port, size: usize) -> Result<u64, Error> {
    let mut message = vec![0; size];
    let mut bytes = 0;
    loop {
        port.receive_exact(&mut message)?;
        port.send_all(&message)?;
        bytes += size as u64;
        if message.first() == Some(&LAST) {
            return Ok(bytes);
        }
    }
}
